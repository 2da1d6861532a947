package jwtbearer_test

import (
	"fmt"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"signalrd/hubs"
	"signalrd/hubs/auth"
	"signalrd/hubs/auth/jwtbearer"
	"signalrd/hubs/hubtest"
	"signalrd/internal/example"
)

// Office is for those whom the issuer knows.
type Office struct{ hubs.Hub }

// Name is the caller's.
func (o *Office) Name() string { return o.User().Name }

// officeDoor lets in who bears a token that the issuer has signed for the office.
func officeDoor(keys jwtbearer.Keys) (*hubs.Endpoint, error) {
	scheme, err := jwtbearer.New(jwtbearer.Options{
		Keys:      keys,
		Issuers:   []string{"https://login.example.com"},
		Audiences: []string{"office"},
	})
	if err != nil {
		return nil, err
	}
	return &hubs.Endpoint{Authenticate: scheme, Require: auth.HasRole("staff"), CloseOnExpiry: true}, nil
}

func ExampleNew() {
	t := example.Begin() // in a test, t is there
	defer t.End()
	secret := []byte("0123456789abcdef0123456789abcdef")
	key, err := jwtbearer.NewKey("", secret)
	if err != nil {
		t.Fatal(err)
	}
	endpoint, err := officeDoor(jwtbearer.StaticKeys{key})
	if err != nil {
		t.Fatal(err)
	}
	office := hubtest.New[Office](t, nil).Handler(endpoint)

	// What the issuer does:
	sign := func(roles ...string) string {
		token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
			"iss": "https://login.example.com", "aud": "office", "exp": time.Now().Add(time.Hour).Unix(),
			"sub": "17", "name": "Ale", "roles": roles,
		}).SignedString(secret)
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	ale := hubtest.Dial(t, office, "/office", hubtest.Token(sign("staff")))
	fmt.Println(hubtest.Invoke[string](ale, "Name"))
	fmt.Println(hubtest.Refused(t, office, "/office", hubtest.Token(sign("guest"))))
	fmt.Println(hubtest.Refused(t, office, "/office", hubtest.Token("made up")))
	// Output:
	// Ale
	// 403
	// 401
}
