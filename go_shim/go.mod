module pysimbind

go 1.24
