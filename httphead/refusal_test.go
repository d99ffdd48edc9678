package httphead

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"watertight/fault"
)

func TestEveryFaultIsARefusalThatClientsCanRead(t *testing.T) {
	for _, code := range fault.Codes() {
		f := fault.New(code, "a \"quoted\" \\ bär\r\nSet-Cookie: x", nil)
		f.Target, f.Channel = "example.com:443", "direct"
		b := Refusal{Fault: f}.Append(nil)
		resp, err := http.ReadResponse(bufio.NewReader(strings.NewReader(string(b))), nil)
		if err != nil {
			t.Fatal(code, err)
		}
		body, err := io.ReadAll(resp.Body)
		var got map[string]string
		if json.Unmarshal(body, &got) != nil || err != nil {
			t.Errorf("%s: body %q %v", code, body, err)
		}
		if resp.StatusCode != code.HTTPStatus() || !strings.HasSuffix(resp.Status, "("+string(code)+")") || len(resp.Cookies()) != 0 {
			t.Errorf("%s: %s", code, resp.Status)
		}
		if got["error"] != string(code) || got["message"] != f.Message || got["target"] != f.Target || got["channel"] != "direct" || got["hint"] == "" {
			t.Errorf("%s: %v", code, got)
		}
		status := resp.Header.Get("Proxy-Status")
		if !strings.HasPrefix(status, "watertight; error="+code.ProxyError()) ||
			!strings.HasSuffix(status, `; details="a \"quoted\" \\ b?r??Set-Cookie: x"`) {
			t.Errorf("%s: Proxy-Status %s", code, status)
		}
		if asks := resp.Header.Get("Proxy-Authenticate") != ""; asks != (code == fault.AuthRequired) {
			t.Errorf("%s: Proxy-Authenticate %v", code, asks)
		}
		if resp.Close {
			t.Errorf("%s: the connection ends", code)
		}
	}
}

func TestARefusalTellsTheResponseCodeThatTheResolverGaveAndMakesNoneUp(t *testing.T) {
	for _, c := range []struct {
		code  fault.Code
		rcode string // of the answer
		want  string
	}{
		{fault.DNSNXDomain, "", `error=dns_error; rcode="NXDOMAIN"; details=`},
		{fault.DNSNoData, "", `error=dns_error; rcode="NOERROR"; details=`},
		{fault.DNSServFail, "SERVFAIL", `error=dns_error; rcode="SERVFAIL"; details=`},
		{fault.DNSServFail, "REFUSED", `error=dns_error; rcode="REFUSED"; details=`},
		{fault.DNSServFail, "", `error=dns_error; details=`},
		{fault.DNSBogus, "", `error=dns_error; details=`},
		{fault.ResolverUnreachable, "", `error=dns_error; details=`},
		{fault.DNSTimeout, "", `error=dns_timeout; details=`},
	} {
		f := fault.New(c.code, "no", nil)
		f.RCode = c.rcode
		if b := string(Refusal{Fault: f}.Append(nil)); !strings.Contains(b, "\r\nProxy-Status: watertight; "+c.want) {
			t.Errorf("%s %s: %s", c.code, c.rcode, b)
		}
	}
}

func TestARefusalOfHEADHasNoBody(t *testing.T) {
	b := string(Refusal{Fault: fault.New(fault.BadRequest, "no", nil), Head: true, Close: true}.Append(nil))
	if !strings.HasSuffix(b, "Connection: close\r\n\r\n") || strings.Contains(b, "Content-Length: 0") {
		t.Error(b)
	}
}
