package ignored

// int native(void) { return 0; }
import "C"

func native() int { return int(C.native()) }
