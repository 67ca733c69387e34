package sim

import "errors"

// ErrWorkload is wrapped by New with what is wrong with the workload, and where.
var ErrWorkload = errors.New("invalid workload")

// ErrConfig is wrapped by New with what is wrong with the configuration.
var ErrConfig = errors.New("invalid configuration")

// ErrParams is wrapped by runs whose parameters are not finite, and by NewTerms.
var ErrParams = errors.New("invalid parameters")

// ErrEngine is returned where the leap engine was demanded and cannot prove that it is exact.
var ErrEngine = errors.New("the leap engine is not exact here")
