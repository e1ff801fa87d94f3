package loopback_test

import (
	"fmt"
	"net/url"

	"github.com/dougong-io/dougong/kit/loopback"
)

func ExampleHost() {
	for _, text := range []string{"http://LocalHost:8080", "http://[::1]:8080", "http://models.test:8080"} {
		u, err := url.Parse(text)
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(u.Hostname(), loopback.Host(u.Hostname()))
	}
	// Output:
	// LocalHost true
	// ::1 true
	// models.test false
}
