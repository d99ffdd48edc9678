package main

import (
	"strings"
	"testing"
)

func TestTally_countsLeaves_andPrintsSkipsAndFailures(t *testing.T) {
	const in = `{"Action":"start","Package":"a"}
{"Action":"run","Package":"a","Test":"TestOne"}
{"Action":"output","Package":"a","Test":"TestOne","Output":"chatter\n"}
{"Action":"pass","Package":"a","Test":"TestOne","Elapsed":0.1}
{"Action":"run","Package":"a","Test":"TestTwo"}
{"Action":"run","Package":"a","Test":"TestTwo/x"}
{"Action":"pass","Package":"a","Test":"TestTwo/x"}
{"Action":"run","Package":"a","Test":"TestTwo/y"}
{"Action":"output","Package":"a","Test":"TestTwo/y","Output":"went wrong\n"}
{"Action":"fail","Package":"a","Test":"TestTwo/y"}
{"Action":"fail","Package":"a","Test":"TestTwo"}
{"Action":"run","Package":"a","Test":"TestThree"}
{"Action":"output","Package":"a","Test":"TestThree","Output":"not here\n"}
{"Action":"skip","Package":"a","Test":"TestThree"}
{"Action":"output","Package":"a","Output":"FAIL\ta\t0.1s\n"}
{"Action":"fail","Package":"a"}
{"Action":"output","Package":"b","Output":"PASS\n"}
{"Action":"output","Package":"b","Output":"ok  \tb\t0.1s\n"}
{"Action":"pass","Package":"b"}
plain text from the go command
{"ImportPath":"c","Action":"build-output","Output":"c/c.go:1:1: no\n"}
{"Action":"fail","Package":"c"}
`
	var out strings.Builder
	c, err := tally(strings.NewReader(in), &out, true)
	if err != nil {
		t.Fatal(err)
	}
	if want := (counts{passed: 2, failed: 2, skipped: 1}); c != want {
		t.Errorf("counted %v, want %v", c, want)
	}
	const want = "--- PASS: TestOne (0.10s)\nwent wrong\nnot here\nFAIL\ta\t0.1s\nok  \tb\t0.1s\nplain text from the go command\nc/c.go:1:1: no\n"
	if out.String() != want {
		t.Errorf("printed\n%s\nwant\n%s", out.String(), want)
	}
}
