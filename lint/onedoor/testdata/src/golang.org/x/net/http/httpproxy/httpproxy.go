// Package httpproxy stands in for the library of that name.
package httpproxy

type Config struct{ HTTPProxy string }

func FromEnvironment() *Config { return new(Config) }
