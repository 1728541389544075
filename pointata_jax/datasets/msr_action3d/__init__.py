"""MSR-Action3D: twenty actions by ten people before one depth camera (Li, Zhang and Liu 2010)."""
