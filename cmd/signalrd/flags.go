package main

// Flags that several commands have.

// backplaneHub says how the hub is called on the backplane.
type backplaneHub struct {
	HubName string `default:"ChatHub" placeholder:"NAME" help:"The hub's name on the backplane: in a farm with ASP.NET Core the full name of its hub class (default: ${default})."`
}

// notifyChannel says where notifications are published.
type notifyChannel struct {
	NotifyChannel string `default:"notify.users" placeholder:"CHANNEL" help:"Redis channel of notifications (default: ${default})."`
}

// notifyLimit bounds notifications.
type notifyLimit struct {
	NotifyMaxBytes int `default:"1048576" placeholder:"BYTES" help:"Largest notification taken (default: ${default})."`
}
