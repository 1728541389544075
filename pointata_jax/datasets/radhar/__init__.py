"""RadHAR: human activities seen by a millimeter-wave radar."""
