package ordinary

import (
	"errors"
	"testing"

	"watertight/visit"
)

func TestNothingIsLookedUpThatIsNoNameOfAVisit(t *testing.T) {
	for _, host := range []string{"", "example.com", "api.example.com", visit.NewLabel(), visit.NewLabel() + ".", "-" + visit.NewLabel() + ".example.net", "--help"} {
		if err := Ask(t.Context(), host); !errors.Is(err, visit.ErrNoVisit) {
			t.Errorf("%q: %v", host, err)
		}
	}
}
