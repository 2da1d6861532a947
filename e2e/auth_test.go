package e2e

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/golang-jwt/jwt/v5"

	"signalrd/hubs"
	"signalrd/hubs/auth"
	"signalrd/hubs/auth/jwtbearer"
	"signalrd/hubs/transport"
	"signalrd/internal/peers"
)

const secret = "streng-geheim-0123456789-0123456789"

// tokenFor is signed with the secret, and good for an hour but for what the
// claims say.
func tokenFor(t *testing.T, user string, claims jwt.MapClaims) string {
	t.Helper()
	return sign(t, jwt.SigningMethodHS256, []byte(secret), "", user, claims)
}

func sign(t *testing.T, method jwt.SigningMethod, key any, kid, user string, more jwt.MapClaims) string {
	t.Helper()
	claims := jwt.MapClaims{"sub": user, "iss": "test", "aud": "hub", "exp": time.Now().Add(time.Hour).Unix()}
	for claim, value := range more {
		claims[claim] = value
	}
	token := jwt.NewWithClaims(method, claims)
	if kid != "" {
		token.Header["kid"] = kid
	}
	signed, err := token.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

// startWithSecret runs a server that takes tokens signed with the secret.
func startWithSecret(t *testing.T, redis *peers.RedisServer, flags ...string) *server {
	t.Helper()
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return startServer(t, append([]string{"--redis=redis://" + redis.Addr(), "--auth=jwt", "--jwt-secret-file=" + file, "--jwt-issuer=test", "--jwt-audience=hub"}, flags...)...)
}

// signInWithNode runs the stock JavaScript client with tokens.
func signInWithNode(t *testing.T, url, transport string, tokens ...string) *process {
	t.Helper()
	arguments := []string{filepath.Join("testdata", "signin.mjs"), filepath.Join(repository(t), "clients", "js"), url, transport}
	return run(t, "node", exec.Command(peers.Node(t), append(arguments, tokens...)...))
}

// awaitLines blocks until a process has printed these lines, and no others.
func (p *process) awaitLines(t *testing.T, want ...string) {
	t.Helper()
	p.await(t, fmt.Sprintf("%q", want), func(stdout, _ []string) bool { return len(stdout) >= len(want) })
	if got := p.lines(); !slices.Equal(got, want) {
		t.Fatalf("%s printed %q, want %q", p.name, got, want)
	}
}

var allTransports = []string{"WebSockets", "ServerSentEvents", "LongPolling"}

// The stock JavaScript client signs in with a token over each transport, and
// is the user that the token says.
func TestSignIn(t *testing.T) {
	javascript(t) // installs the client
	store := peers.Redis(t)
	s := startWithSecret(t, store)
	worker := publisher(t, store)
	for _, transport := range allTransports {
		t.Run(transport, func(t *testing.T) {
			id := "id of " + transport
			client := signInWithNode(t, s.url, transport, tokenFor(t, id, jwt.MapClaims{"name": "Ale"}))
			client.awaitLines(t, "connected")
			for _, note := range []string{`{"user":"Ale","message":"to the name"}`, fmt.Sprintf(`{"user":%q,"message":"to the id"}`, id)} {
				if err := worker.Publish(t.Context(), "notify.users", note).Err(); err != nil {
					t.Fatal(err)
				}
			}
			client.awaitLines(t, "connected", "System: to the id")
			fmt.Fprintln(client.stdin, "hi")
			client.awaitLines(t, "connected", "System: to the id", "Ale: hi")
			client.stdin.Close()
			<-client.exited

			expired := signInWithNode(t, s.url, transport, tokenFor(t, id, jwt.MapClaims{"exp": time.Now().Add(-6 * time.Minute).Unix()}))
			<-expired.exited
			if lines := expired.lines(); len(lines) != 1 || !strings.HasPrefix(lines[0], "refused: ") || !strings.Contains(lines[0], "401") {
				t.Errorf("with an expired token: %q", lines)
			}
		})
	}
}

// A connection ends with its token, and its client comes back with another.
func TestCloseOnExpiry(t *testing.T) {
	javascript(t) // installs the client
	s := startWithSecret(t, peers.Redis(t), "--close-on-expiry")
	for _, transport := range allTransports {
		t.Run(transport, func(t *testing.T) {
			soon := tokenFor(t, "ale", jwt.MapClaims{"exp": time.Now().Add(3 * time.Second).Unix()})
			client := signInWithNode(t, s.url, transport, soon, tokenFor(t, transport, nil))
			client.awaitLines(t, "connected", "lost", "connected again")
			fmt.Fprintln(client.stdin, "back")
			client.awaitLines(t, "connected", "lost", "connected again", transport+": back")
			client.stdin.Close()
			<-client.exited
		})
	}
}

// answer asks for something and returns what came but for the body.
func answer(t *testing.T, url, token string) (status int, challenge string) {
	t.Helper()
	request, err := http.NewRequest(http.MethodPost, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK && (len(body) > 0 || response.Header.Get("Content-Type") != "") {
		t.Errorf("%d with the body %q of type %q, %v", response.StatusCode, body, response.Header.Get("Content-Type"), err)
	}
	return response.StatusCode, response.Header.Get("WWW-Authenticate")
}

// Every caller must be signed in, unless the operator says otherwise; a token
// may stand in the query, as browsers have it.
func TestWhoMayNegotiate(t *testing.T) {
	store := peers.Redis(t)
	closed, open := startWithSecret(t, store), startWithSecret(t, store, "--allow-anonymous")
	const invalid = `Bearer error="invalid_token"`
	good := tokenFor(t, "ale", nil)
	for _, test := range []struct {
		name         string
		token, query string
		closed, open int
		challenge    string
	}{
		{"nobody", "", "", 401, 200, "Bearer"},
		{"a good token", good, "", 200, 200, ""},
		{"a good token in the query", "", "&access_token=" + good, 200, 200, ""},
		{"garbage", "x", "", 401, 401, invalid},
		{"the name of somebody", "", "&access_token=ale", 401, 401, invalid},
		{"another issuer's", tokenFor(t, "ale", jwt.MapClaims{"iss": "evil"}), "", 401, 401, invalid + `, error_description="The issuer 'evil' is invalid"`},
		{"for others", tokenFor(t, "ale", jwt.MapClaims{"aud": "app"}), "", 401, 401, invalid + `, error_description="The audience 'app' is invalid"`},
		{"expired in 1970", tokenFor(t, "ale", jwt.MapClaims{"exp": 5}), "", 401, 401, invalid + `, error_description="The token expired at '01/01/1970 00:00:05'"`},
		{"12 KB", "", "&access_token=" + strings.Repeat("x", 12<<10), 401, 401, invalid},
	} {
		for s, want := range map[*server]int{closed: test.closed, open: test.open} {
			status, challenge := answer(t, s.url+"/negotiate?negotiateVersion=1"+test.query, test.token)
			if status != want || want == 401 && challenge != test.challenge || want == 200 && challenge != "" {
				t.Errorf("%s: %d, %q, want %d, %q", test.name, status, challenge, want, test.challenge)
			}
		}
	}
	c := connect(t, closed.url+"?access_token="+good, "")
	c.invoke(t, "SendMessage", "hi")
	c.expect(t, received("ale", "hi"))
	anonymous := connect(t, open.url, "")
	anonymous.invoke(t, "SendMessage", "hi")
	anonymous.expect(t, received("Anonymous", "hi"))
}

// Keys from PEM, from a set on a server that changes them, and from the environment.
func TestKeysOfTokens(t *testing.T) {
	redis := "--redis=redis://" + peers.Redis(t).Addr()
	may := func(s *server, token string) bool {
		status, _ := answer(t, s.url+"/negotiate", token)
		return status == http.StatusOK
	}
	keys := make([]*ecdsa.PrivateKey, 2)
	for i := range keys {
		var err error
		if keys[i], err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
			t.Fatal(err)
		}
	}
	by := func(i int) string {
		return sign(t, jwt.SigningMethodES256, keys[i], fmt.Sprint("key", i), "ale", nil)
	}

	t.Run("PEM", func(t *testing.T) {
		der, err := x509.MarshalPKIXPublicKey(keys[0].Public())
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(t.TempDir(), "key.pem")
		if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		s := startServer(t, redis, "--auth=jwt", "--jwt-key="+file, "--jwt-issuer=any", "--jwt-audience=any")
		if !may(s, by(0)) || may(s, by(1)) || may(s, tokenFor(t, "ale", nil)) {
			t.Error("other tokens are good than those signed with the key")
		}
	})
	t.Run("JWKS", func(t *testing.T) {
		var served atomic.Pointer[[]byte]
		serve := func(i int) {
			key, err := jwkset.NewJWKFromKey(keys[i].Public(), jwkset.JWKOptions{Metadata: jwkset.JWKMetadataOptions{KID: fmt.Sprint("key", i)}})
			if err != nil {
				t.Fatal(err)
			}
			set, err := json.Marshal(jwkset.JWKSMarshal{Keys: []jwkset.JWKMarshal{key.Marshal()}})
			if err != nil {
				t.Fatal(err)
			}
			served.Store(&set)
		}
		serve(0)
		issuer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write(*served.Load()) }))
		defer issuer.Close()
		s := startServer(t, redis, "--auth=jwt", "--jwt-jwks="+issuer.URL+"/jwks?api_key=verraten", "--jwt-issuer=test", "--jwt-audience=hub")
		if !may(s, by(0)) {
			t.Error("the key's token is refused")
		}
		serve(1)
		if !may(s, by(1)) || may(s, by(0)) {
			t.Error("the server did not follow the rotation")
		}
		s.terminate(t)
		for _, line := range slices.Concat(s.stdout, s.stderr) {
			if strings.Contains(line, "verraten") {
				t.Errorf("printed %q", line)
			}
		}
	})
	t.Run("environment", func(t *testing.T) {
		t.Setenv("SIGNALRD_JWT_SECRET", secret)
		s := startServer(t, redis, "--auth=jwt", "--jwt-issuer=test", "--jwt-audience=hub", "--jwt-user-claim=oid", "--jwt-skew=0s")
		if !may(s, tokenFor(t, "ale", nil)) || may(s, tokenFor(t, "ale", jwt.MapClaims{"exp": time.Now().Unix() - 2})) {
			t.Error("other tokens are good than those that should be")
		}
		c := connect(t, s.url, tokenFor(t, "no", jwt.MapClaims{"oid": "yes"}))
		c.invoke(t, "SendMessage", "hi")
		c.expect(t, received("yes", "hi"))
	})
}

// Whatever is done with tokens, and whatever else goes wrong, the logs hold
// nothing of them, nor of the secret.
func TestNoTokenInTheLogs(t *testing.T) {
	s := startWithSecret(t, peers.Redis(t), "--log-level=debug", "--close-on-expiry")
	good := tokenFor(t, "ale", nil)
	tokens := []string{good, "geheim.geheim.geheim", good + "geheim", strings.Repeat("geheim", 2<<10),
		tokenFor(t, "ale", jwt.MapClaims{"exp": 5}), tokenFor(t, "ale", jwt.MapClaims{"aud": "else"}), tokenFor(t, "ale", jwt.MapClaims{"exp": "geheim"})}
	for _, token := range tokens {
		answer(t, s.url+"/negotiate", token)
		answer(t, s.url+"/negotiate?access_token="+url.QueryEscape(token), "")
	}
	c := connect(t, s.url+"?access_token="+good, "")
	c.write(t, "garbage\x1e")
	c.await(t, "its end", func(_ []string, closed error) bool { return closed != nil })
	host := strings.TrimSuffix(strings.TrimPrefix(s.url, "http://"), "/chathub")
	for _, request := range []string{
		"GET /chathub?access_token=" + good + " HTTP/9.9\r\n\r\n",
		"GET /chathub?access_token=" + good + "%zz HTTP/1.1\r\nHost: x\r\n\r\n",
		"GET /chathub HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + good + "\x00\r\n\r\n",
		"POST /chathub?id=x&access_token=" + good + " HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab",
	} {
		conn, err := net.Dial("tcp", host)
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(conn, request)
		conn.(*net.TCPConn).CloseWrite()
		io.Copy(io.Discard, conn)
		conn.Close()
	}
	s.terminate(t)
	lines := slices.Concat(s.stdout, s.stderr)
	if !slices.ContainsFunc(lines, func(line string) bool { return strings.Contains(line, "The audience 'else' is invalid") }) {
		t.Error("the log does not say why a token was refused")
	}
	forbidden := []string{"geheim", secret}
	for _, token := range tokens {
		for _, part := range strings.Split(token, ".") {
			forbidden = append(forbidden, part[:min(len(part), 16)])
		}
	}
	for _, line := range lines {
		for _, part := range forbidden {
			if strings.Contains(line, part) {
				t.Errorf("%q is in %.300q", part, line)
			}
		}
	}
}

func TestFlagsOfSignIn(t *testing.T) {
	file := filepath.Join(t.TempDir(), "short")
	if err := os.WriteFile(file, []byte("geheim"), 0o600); err != nil {
		t.Fatal(err)
	}
	alone := []string{"--backplane=local", "--origins=none", "--auth=jwt"}
	for _, test := range []struct {
		name        string
		flags       []string
		environment string
		says        []string
	}{
		{"nothing", nil, "", []string{"--jwt-jwks=URL", "--jwt-key", "--jwt-secret-file", "SIGNALRD_JWT_SECRET", "--jwt-issuer", "--jwt-audience", "any"}},
		{"no audience", []string{"--jwt-issuer=any"}, "SIGNALRD_JWT_SECRET=" + secret, []string{"--jwt-audience"}},
		{"bad values", []string{"--jwt-secret-file=" + file, "--jwt-issuer=a,any", "--jwt-audience=,", "--jwt-skew=-5s", "--transports=sse,geheimnisvoll", "--parallel-invocations=0"}, "",
			[]string{"--jwt-secret-file", "6 bytes", "--jwt-issuer=a,any", "--jwt-audience=", "--jwt-skew=-5s", "--transports", "longpolling", "--parallel-invocations"}},
		{"two kinds of keys", []string{"--jwt-key=nowhere.pem", "--jwt-jwks=http://keys.example/", "--jwt-issuer=any", "--jwt-audience=any"}, "",
			[]string{"--jwt-key and --jwt-jwks", "nowhere.pem: no such file", "https://"}},
		{"short secret", []string{"--jwt-issuer=any", "--jwt-audience=any"}, "SIGNALRD_JWT_SECRET=geheim", []string{"SIGNALRD_JWT_SECRET", "6 bytes"}},
		{"flags for tokens without tokens", []string{"--auth=anonymous", "--allow-anonymous", "--close-on-expiry", "--jwt-audience=x"}, "",
			[]string{"--allow-anonymous", "--close-on-expiry", "--jwt-audience", "--auth=jwt"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			command := program(t, "signalrd", append(slices.Clone(alone), test.flags...)...)
			command.Env = append(os.Environ(), test.environment)
			out, err := command.CombinedOutput()
			if err == nil {
				t.Error("it started")
			}
			for _, part := range test.says {
				if !strings.Contains(string(out), part) {
					t.Errorf("it does not say %q:\n%s", part, out)
				}
			}
			if strings.Contains(string(out), "geheim\n") || strings.Contains(string(out), secret) {
				t.Errorf("it shows the secret:\n%s", out)
			}
		})
	}
}

// What a server offers can be chosen.
func TestFlagsOfTransports(t *testing.T) {
	redis := "--redis=redis://" + peers.Redis(t).Addr()
	for _, test := range []struct {
		flags            []string
		transports, says string
	}{
		{nil, "WebSockets ServerSentEvents LongPolling", "true"},
		{[]string{"--transports=longpolling,WebSockets", "--no-stateful-reconnect"}, "WebSockets LongPolling", "false"},
	} {
		s := startServer(t, append(test.flags, redis)...)
		response, err := http.Post(s.url+"/negotiate?negotiateVersion=1&useStatefulReconnect=true", "", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		var negotiated struct {
			UseStatefulReconnect bool
			AvailableTransports  []struct{ Transport string }
		}
		err = json.NewDecoder(response.Body).Decode(&negotiated)
		response.Body.Close()
		var names []string
		for _, transport := range negotiated.AvailableTransports {
			names = append(names, transport.Transport)
		}
		if got := strings.Join(names, " "); err != nil || got != test.transports || fmt.Sprint(negotiated.UseStatefulReconnect) != test.says {
			t.Errorf("%v: %v, %s, %v", test.flags, got, fmt.Sprint(negotiated.UseStatefulReconnect), err)
		}
	}
}

// office is a hub of which one method is for some only.
type office struct{ hubs.Hub }

func (o *office) Fire(who string) string { return o.User().Name + " fires " + who }

func (o *office) Greet() string { return "hello" }

// A method may require what a token says of its user.
func TestMethodsForRoles(t *testing.T) {
	keys, err := jwtbearer.ParseSecret([]byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	scheme, err := jwtbearer.New(jwtbearer.Options{Keys: jwtbearer.StaticKeys(keys)})
	if err != nil {
		t.Fatal(err)
	}
	server, err := hubs.NewServer(func() hubs.Interface { return new(office) }, &hubs.Options{Methods: map[string]hubs.MethodOptions{
		"Fire": {Require: auth.All(auth.HasRole("boss", "deputy"), auth.HasClaim("dept", "HR"))},
	}})
	if err != nil {
		t.Fatal(err)
	}
	mux := transport.NewMux(nil)
	mux.Handle("/office", server.Handler(&hubs.Endpoint{Authenticate: scheme}))
	listening := httptest.NewServer(mux)
	defer listening.Close()
	defer server.Shutdown(context.Background())
	const fire, greet = `{"type":1,"invocationId":"1","target":"fire","arguments":["Bo"]}` + "\x1e", `{"type":1,"invocationId":"2","target":"Greet","arguments":[]}` + "\x1e"
	const refused = `{"type":3,"invocationId":"1","error":"Failed to invoke 'Fire' because user is unauthorized"}`
	for _, test := range []struct{ name, token, want string }{
		{"anonymous", "", refused},
		{"no role", tokenFor(t, "ale", jwt.MapClaims{"dept": "HR"}), refused},
		{"another role", tokenFor(t, "ale", jwt.MapClaims{"role": "reader", "dept": "HR"}), refused},
		{"another department", tokenFor(t, "ale", jwt.MapClaims{"role": "boss", "dept": "IT"}), refused},
		{"both", tokenFor(t, "ale", jwt.MapClaims{"roles": []string{"reader", "deputy"}, "dept": "HR", "name": "Ale"}), `{"type":3,"invocationId":"1","result":"Ale fires Bo"}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := connect(t, listening.URL+"/office", test.token)
			c.write(t, fire+greet)
			c.expect(t, test.want, `{"type":3,"invocationId":"2","result":"hello"}`)
		})
	}
}
