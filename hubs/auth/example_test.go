package auth_test

import (
	"fmt"
	"net/http"

	"signalrd/hubs/auth"
)

// Requirements are functions, and some make others.
func ExampleRequirement() {
	verified := func(u *auth.User) bool { return u != nil && u.Claims.First("email_verified") == "true" }
	mayBuy := auth.Any(auth.HasRole("admin"), auth.All(verified, auth.HasClaim("country", "IT", "AT")))

	fmt.Println(mayBuy(nil))
	fmt.Println(mayBuy(&auth.User{Claims: auth.Claims{"country": {"IT"}}}))
	fmt.Println(mayBuy(&auth.User{Claims: auth.Claims{"country": {"IT"}, "email_verified": {"true"}}}))
	fmt.Println(mayBuy(&auth.User{Claims: auth.Claims{"role": {"admin"}}}))
	// Output:
	// false
	// false
	// true
	// true
}

// Other handlers can know users in the same way.
func ExampleMiddleware() {
	sessions := Sessions{"4f1c": {ID: "17", Name: "Ale"}}
	account := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, auth.UserOf(r.Context()).Name)
	})
	http.Handle("/account", auth.Middleware(sessions, auth.Require(auth.SignedIn, account)))
}
