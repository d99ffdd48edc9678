package transparent

import "testing"

func TestNoDoorTakesAllThatDoorsHaveTogether(t *testing.T) {
	for most, first := range map[int]int64{0: 0, 1: 1, 2: 2, 10: 8, 100: 80, 1000: 800} {
		s := NewShare(most)
		fill := func() (has int64) {
			for s.take(has) {
				has++
			}
			return has
		}
		one := fill()
		if one != first {
			t.Errorf("of %d, one door has %d, want %d", most, one, first)
		}
		two := fill()
		if most >= 10 && two == 0 {
			t.Errorf("of %d, another has none", most)
		}
		if one+two > int64(most) {
			t.Errorf("of %d, two have %d", most, one+two)
		}
		for range one + two {
			s.give()
		}
		if again := fill(); again != first {
			t.Errorf("of %d, after all were given back one door has %d, want %d", most, again, first)
		}
		s.Set(0)
		if s.take(0) {
			t.Error("there is room where there is none")
		}
	}
}
