"""RadHAR: human activities seen by a millimetre-wave radar."""
