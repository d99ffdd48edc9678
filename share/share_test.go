package share

import (
	"math/rand/v2"
	"testing"
)

func TestWhoHoldsTheMostGivesUpFirst(t *testing.T) {
	b := NewBook[string](10)
	ask := func(key string) string {
		if b.Full() {
			giver, ok := b.Giver(key)
			if !ok {
				return "nobody"
			}
			b.Give(giver)
			b.Take(key)
			return giver
		}
		b.Take(key)
		return ""
	}
	for range 10 {
		if ask("greedy") != "" {
			t.Fatal("somebody had to give something up")
		}
	}
	if got := ask("greedy"); got != "greedy" {
		t.Errorf("for what is its own, %s gave up", got)
	}
	for range 5 {
		if got := ask("late"); got != "greedy" {
			t.Errorf("%s gave up", got)
		}
	}
	if got := ask("late"); got != "late" || b.Of("late") != 5 || b.Of("greedy") != 5 || b.Held() != 10 {
		t.Errorf("%s gave up; late has %d and greedy %d", got, b.Of("late"), b.Of("greedy"))
	}
	if got := ask("third"); got != "late" && got != "greedy" || b.Of("third") != 1 {
		t.Errorf("%s gave up", got)
	}
}

func TestNobodyLosesTheLast(t *testing.T) {
	b := NewBook[int](3)
	for i := range 3 {
		b.Take(i)
	}
	if giver, ok := b.Giver(7); ok {
		t.Errorf("%d had to give up its only one", giver)
	}
	if giver, ok := b.Giver(1); !ok || giver != 1 {
		t.Errorf("%d had to give up", giver)
	}
	if _, ok := NewBook[int](1).Giver(1); ok {
		t.Error("somebody has to give up what nobody has")
	}
}

func TestTheBookIsRightAfterAnyNumberOfChanges(t *testing.T) {
	b, counts, sum := NewBook[int](50), map[int]int{}, 0
	r := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		key := r.IntN(20)
		switch {
		case r.IntN(2) == 0 && !b.Full():
			b.Take(key)
			counts[key]++
			sum++
		case counts[key] > 0:
			b.Give(key)
			counts[key]--
			sum--
		default:
			b.Give(key) // of nothing
		}
		most := 0
		for _, n := range counts {
			most = max(most, n)
		}
		if b.Held() != sum || b.Of(key) != counts[key] || sum > 0 && b.order[0].n != most {
			t.Fatalf("%d held of %d, %d of %d", b.Held(), sum, b.Of(key), counts[key])
		}
		if giver, ok := b.Giver(key); ok && giver != key && counts[giver] != most {
			t.Fatalf("%d has to give up with %d, and the most is %d", giver, counts[giver], most)
		}
	}
}
