package demo

// Sabotages are the ways to spoil the demo, by the act that must notice.
var Sabotages = map[string][]sabotage{
	"ordinary":   {mutedProvider},
	"watertight": {leakyProxy},
	"cut_off":    {openResolver, partingWord},
}

// Sabotaged gives options with which a part of the demo does not hold.
func Sabotaged(o Options, s sabotage) Options {
	o.sabotage = s
	return o
}
