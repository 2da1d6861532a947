package auth_test

import (
	"errors"
	"fmt"
	"net/http"

	"signalrd/hubs"
	"signalrd/hubs/auth"
	"signalrd/hubs/hubtest"
	"signalrd/internal/example"
)

// Sessions are users by the session that a cookie names.
type Sessions map[string]*auth.User

// Authenticate returns nil without an error for somebody who is not signed in, and an
// error for somebody who only pretends to be.
func (s Sessions) Authenticate(r *http.Request) (*auth.User, error) {
	cookie, err := r.Cookie("session")
	if err != nil {
		return nil, nil
	}
	user, known := s[cookie.Value]
	if !known {
		return nil, errors.New("this session is over")
	}
	return user, nil
}

// Diary is for those who are signed in.
type Diary struct{ hubs.Hub }

// Owner is the caller.
func (d *Diary) Owner() string { return d.User().Name }

func ExampleScheme() {
	t := example.Begin() // in a test, t is there
	defer t.End()
	sessions := Sessions{"4f1c": {ID: "17", Name: "Ale"}}
	diary := hubtest.New[Diary](t, nil).Handler(&hubs.Endpoint{Authenticate: sessions, Require: auth.SignedIn})

	ale := hubtest.Dial(t, diary, "/diary", hubtest.Header("Cookie", "session=4f1c"))
	fmt.Println(hubtest.Invoke[string](ale, "Owner"))
	fmt.Println(hubtest.Refused(t, diary, "/diary"), "without a session")
	fmt.Println(hubtest.Refused(t, diary, "/diary", hubtest.Header("Cookie", "session=old")), "with one that is over")
	// Output:
	// Ale
	// 401 without a session
	// 401 with one that is over
}
