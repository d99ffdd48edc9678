package lab

// firefoxCall opens a page by Marionette, Firefox's own protocol for tests, and prints it as soon as a text is in it, or as it is after 20 s.
const firefoxCall = `
import json, os, socket, subprocess, sys, time
profile, url, until = os.path.abspath(sys.argv[1]), sys.argv[2], sys.argv[3]
os.makedirs(profile, exist_ok=True)
with open(profile + "/user.js", "w") as f:
    f.write('user_pref("marionette.port", 2828);\n')
    for setting in sys.argv[4:]:
        f.write("user_pref(%s);\n" % setting)
firefox = subprocess.Popen(["firefox-esr", "--headless", "--marionette", "--no-remote", "--profile", profile], stdout=sys.stderr, stdin=subprocess.DEVNULL)
for _ in range(600):
    try:
        s = socket.create_connection(("127.0.0.1", 2828), 60)
        break
    except OSError:
        if firefox.poll() is not None:
            sys.exit("firefox ended: %d" % firefox.returncode)
        time.sleep(0.1)
stream = s.makefile("rb")
def read():
    n = b""
    while not n.endswith(b":"):
        n += stream.read(1)
    return json.loads(stream.read(int(n[:-1])))
def ask(what, **with_):
    text = json.dumps([0, 1, what, with_])
    s.sendall(("%d:%s" % (len(text), text)).encode())
    _, _, error, result = read()
    if error:
        sys.exit("%s: %s" % (what, error))
    return result
read()
ask("WebDriver:NewSession", acceptInsecureCerts=True)
ask("WebDriver:Navigate", url=url)
for _ in range(200):
    page = ask("WebDriver:GetPageSource")["value"]
    if until in page:
        break
    time.sleep(0.1)
print(page)
firefox.kill() # it takes its time to quit
firefox.wait(60)
`

// Firefox gives the arguments by which python3 has Firefox open a page and print what became of it. It has a profile of its
// own in a directory, with settings as user_pref takes them: `"network.proxy.type", 1`.
func Firefox(profile, url string, settings ...string) []string {
	return FirefoxUntil(profile, url, "", settings...)
}

// FirefoxUntil is [Firefox] for a page that goes on after it was loaded: it is printed when a text is in it, or after 20 seconds.
func FirefoxUntil(profile, url, text string, settings ...string) []string {
	return append([]string{"-I", "-c", firefoxCall, profile, url, text}, settings...)
}
