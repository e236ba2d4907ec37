"""The same gradient on two ways: what parts them beyond rounding."""
