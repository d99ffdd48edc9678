//go:build !unix

package doctor

import "os"

// openFlags open a file to be read. Pipes are no files here.
const openFlags = os.O_RDONLY
