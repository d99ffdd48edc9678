package demo

// Sabotaged gives options with which a leaking proxy stands in Watertight's place.
func Sabotaged(o Options) Options {
	o.sabotage = true
	return o
}
