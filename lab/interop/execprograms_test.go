package interop

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"watertight/lab"
	"watertight/lab/internet"
)

const python3 = "/usr/bin/python3"

const httpxCall = `
import sys, httpx
r = httpx.get(sys.argv[1], verify=sys.argv[2], timeout=15)
r.raise_for_status()
print(r.text)
`

const fetchCall = `
fetch(process.argv[1]).then(async r => { console.log(await r.text()); process.exit(r.ok ? 0 : 1) },
	e => { console.error(String(e), String(e.cause)); process.exit(1) });
`

const rubyCall = `
uri = URI(ARGV[0])
Net::HTTP.start(uri.host, uri.port, use_ssl: true, ca_file: ARGV[1], open_timeout: 15, read_timeout: 15) { |http| puts http.get("/").body }
`

const phpStreamCall = `
$text = file_get_contents($argv[1], false, stream_context_create(["ssl" => ["cafile" => $argv[2]], "http" => ["timeout" => 15]]));
if ($text === false) exit(1);
echo $text;
`

const phpCurlCall = `
$c = curl_init($argv[1]);
curl_setopt_array($c, [CURLOPT_CAINFO => $argv[2], CURLOPT_TIMEOUT => 15, CURLOPT_FAILONERROR => true]);
if (!curl_exec($c)) { echo curl_error($c); exit(1); }
`

// javaCall calls by the HttpClient, and by the older URLConnection.
const javaCall = `
import java.io.*; import java.net.*; import java.net.http.*; import java.nio.file.*; import java.security.*; import java.security.cert.*; import javax.net.ssl.*;
class Call {
  public static void main(String[] args) throws Exception {
    KeyStore store = KeyStore.getInstance(KeyStore.getDefaultType());
    store.load(null, null);
    try (InputStream in = Files.newInputStream(Path.of(args[1]))) {
      store.setCertificateEntry("ca", CertificateFactory.getInstance("X.509").generateCertificate(in));
    }
    TrustManagerFactory trust = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
    trust.init(store);
    SSLContext tls = SSLContext.getInstance("TLS");
    tls.init(null, trust.getTrustManagers(), null);
    var client = HttpClient.newBuilder().sslContext(tls).build();
    System.out.print("HttpClient: " + client.send(HttpRequest.newBuilder(URI.create(args[0])).build(), HttpResponse.BodyHandlers.ofString()).body());
    var connection = (HttpsURLConnection) new URL(args[0]).openConnection();
    connection.setSSLSocketFactory(tls.getSocketFactory());
    System.out.print("URLConnection: " + new String(connection.getInputStream().readAllBytes()));
  }
}
`

// greeting is what most programs are answered.
func greeting(_ *wild, host string) string { return internet.Greeting + host }

// fromClient is a client that has a proxy elsewhere, without it.
func fromClient(c lab.Client) program {
	return program{
		name: c.Name, needs: c.Needs, modules: c.Modules, files: c.Files, want: greeting,
		run: func(w *wild, host string) *internet.Program {
			return c.Program(w.Client, lab.Call{URL: "https://" + host + "/", CAFile: w.CAFile})
		},
	}
}

// cgoClient is Go's client with the resolver of the C library.
func cgoClient() program {
	p := fromClient(lab.GoClient)
	run := p.run
	p.name, p.cgo, p.says = "go with cgo", true, "forcing use of the cgo resolver"
	p.run = func(w *wild, host string) *internet.Program {
		call := run(w, host)
		call.Env = append(call.Env, "GODEBUG=netdns=cgo+1")
		return call
	}
	return p
}

// script is an interpreter's, which is given a URL and the file of the authorities.
func script(name, needs string, args ...string) program {
	return program{name: name, needs: needs, want: greeting, run: func(w *wild, host string) *internet.Program {
		return w.Client.Program(needs, append(args, "https://"+host+"/", w.CAFile)...)
	}}
}

func python(name, module, text string) program {
	p := script(name, python3, "-I", "-c", text)
	p.modules = []string{module}
	return p
}

func programs() []program {
	all := []program{
		fromClient(lab.Curl), fromClient(lab.Wget), fromClient(lab.GoClient), cgoClient(), fromClient(lab.Python), fromClient(lab.Node),
		{name: "grpcio", needs: python3, modules: grpcio.Modules, run: func(w *wild, host string) *internet.Program {
			return grpcio.Program(w.Client, lab.Call{URL: "https://" + host + "/", CAFile: w.CAFile})
		}, want: func(*wild, string) string { return "b'ping'" }},
		{name: "fetch of node", needs: "node", want: greeting, run: func(w *wild, host string) *internet.Program {
			p := w.Client.Program("node", "-e", fetchCall, "--", "https://"+host+"/")
			p.Env = append(p.Env, "NODE_EXTRA_CA_CERTS="+w.CAFile)
			return p
		}},
		script("ruby", "ruby", "-rnet/http", "-e", rubyCall),
		script("php streams", "php", "-r", phpStreamCall, "--"),
		{name: "git over https", needs: "git", want: cloned, run: func(w *wild, host string) *internet.Program {
			p := clones(w, "https://"+host+"/repo.git")
			p.Env = append(p.Env, "GIT_SSL_CAINFO="+w.CAFile)
			return p
		}},
		{name: "git over ssh", needs: "ssh", want: cloned, run: func(w *wild, host string) *internet.Program {
			p := clones(w, "ssh://ada@"+host+"/repo.git")
			p.Env = append(p.Env, "GIT_SSH_COMMAND=ssh -F none -o BatchMode=yes -o ConnectTimeout=15 -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null")
			return p
		}},
		{name: "psql", needs: "psql", want: greeting, run: func(w *wild, host string) *internet.Program {
			return w.Client.Program("psql", "--no-psqlrc", "-Atc", "select name", "host="+host+" user=ada dbname=ada connect_timeout=15 sslmode=verify-full sslrootcert="+w.CAFile)
		}},
		{name: "apt-get", needs: "apt-get", want: func(*wild, string) string { return "Candidate: 1.0" }, run: updates},
		{name: "dig", needs: "dig", want: greeting, run: asks("dig", "+tries=1", "TXT")},
		{name: "kdig", needs: "kdig", want: greeting, run: asks("kdig", "+retry=0", "TXT")},
		{name: "delv", needs: "delv", want: greeting, run: asks("delv", "-i", "TXT")}, // nobody signed what is there
	}
	all = append(all, cares()...)
	return append(all,
		fromClient(requests), fromClient(aiohttp), python("httpx", "httpx", httpxCall), fromClient(undici), fromClient(sClient), phpCurl(), java(),
	)
}

func phpCurl() program {
	p := script("php curl", "php", "-r", phpCurlCall, "--")
	p.check = []string{"php", "-r", "exit(extension_loaded('curl') ? 0 : 1);"}
	return p
}

func java() program {
	p := script("java", "javac")
	p.run = func(w *wild, host string) *internet.Program {
		file := filepath.Join(w.Dir, "Call.java")
		if err := os.WriteFile(file, []byte(javaCall), 0o600); err != nil {
			panic(err) // of the test's own directory
		}
		return w.Client.Program("java", "-XX:TieredStopAtLevel=1", file, "https://"+host+"/", w.CAFile)
	}
	p.want = func(_ *wild, host string) string {
		return fmt.Sprintf("HttpClient: %[1]s%[2]s\nURLConnection: %[1]s%[2]s\n", internet.Greeting, host)
	}
	return p
}

// asks is a program that looks up a name.
func asks(program string, args ...string) func(w *wild, host string) *internet.Program {
	return func(w *wild, host string) *internet.Program {
		return w.Client.Program(program, append(args[:len(args):len(args)], host)...)
	}
}

// clones is git, which clones a repository and prints the commit that it has got.
func clones(w *wild, url string) *internet.Program {
	p := w.Client.Program("sh", "-ec", `rm -rf clone; git clone --quiet "$1" clone; git -C clone rev-parse HEAD`, "sh", url)
	p.Env = append(p.Env, gitEnv()...)
	return p
}

func cloned(w *wild, _ string) string { return w.commit }

// updates is apt-get, which renews its lists from a repository, in directories of its own.
func updates(w *wild, host string) *internet.Program {
	const text = `
mkdir -p apt/state/lists/partial apt/cache/archives/partial apt/etc
: >apt/status
echo "deb [trusted=yes] https://$1/debian/ ./" >apt/etc/sources.list
cat >apt/conf <<END
Dir::State "$PWD/apt/state"; Dir::State::status "$PWD/apt/status"; Dir::Cache "$PWD/apt/cache";
Dir::Etc::sourcelist "$PWD/apt/etc/sources.list"; Dir::Etc::sourceparts "-"; Dir::Log "$PWD/apt";
Acquire::https::CAInfo "$2"; Acquire::Retries "0"; Acquire::https::Timeout "15"; Acquire::Languages "none"; APT::Sandbox::User "root"; APT::Update::Error-Mode "any";
END
export APT_CONFIG="$PWD/apt/conf"
apt-get --quiet update
apt-cache policy hello`
	return w.Client.Program("sh", "-ec", text, "sh", host, w.CAFile)
}

// Each row must be one: two that call one name would speak for each other.
func TestExec_EachProgramHasANameOfItsOwn(t *testing.T) {
	names := map[string]bool{}
	for _, p := range programs() {
		if names[p.name] {
			t.Errorf("%s stands there twice", p.name)
		}
		names[p.name] = true
	}
}
