"""What a task is: its labels, loss, metric and head, one file per kind."""
