package auth

// Claims are what a token says of its user: the values of each claim, by the
// claim's type as it stands in the token.
type Claims map[string][]string

// The long names that ASP.NET Core gives to claims, and that tokens made with
// it may bear.
const (
	NameIdentifierClaim = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/nameidentifier"
	NameClaim           = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/name"
	RoleClaim           = "http://schemas.microsoft.com/ws/2008/06/identity/claims/role"
)

// First is the first value of the first type that has one that is not empty;
// empty if none has.
func (c Claims) First(types ...string) string {
	for _, claim := range types {
		for _, value := range c[claim] {
			if value != "" {
				return value
			}
		}
	}
	return ""
}
