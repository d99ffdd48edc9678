// Package tests shows what test files may do.
package tests
