"""The tests of pysimbind."""
