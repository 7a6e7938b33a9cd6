package webhook_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/countersign-mfa/countersign/internal/webhook"
)

func TestOnlyPublicAddressesArePermitted(t *testing.T) {
	for _, tc := range []struct {
		name, addr string
		want       bool
	}{
		{"public", "93.184.216.34", true},
		{"public, IPv6", "2606:2800:220:1:248:1893:25c8:1946", true},
		{"public, mapped", "::ffff:93.184.216.34", true},
		{"unspecified", "0.0.0.0", false},
		{"this network", "0.1.2.3", false},
		{"private 10", "10.1.2.3", false},
		{"private 172", "172.31.255.255", false},
		{"private 192", "192.168.0.1", false},
		{"next to private 172", "172.32.0.1", true},
		{"carrier-grade NAT", "100.64.0.1", false},
		{"metadata of a cloud in carrier-grade NAT", "100.100.100.200", false},
		{"loopback", "127.0.0.1", false},
		{"all of loopback", "127.255.0.1", false},
		{"link-local", "169.254.1.1", false},
		{"metadata", "169.254.169.254", false},
		{"metadata of a cloud at a public address", "168.63.129.16", false},
		{"protocol assignments", "192.0.0.192", false},
		{"documentation", "192.0.2.1", false},
		{"6to4 relay", "192.88.99.1", false},
		{"benchmarks", "198.19.255.255", false},
		{"multicast", "224.0.0.1", false},
		{"reserved", "240.0.0.1", false},
		{"broadcast", "255.255.255.255", false},
		{"unspecified, IPv6", "::", false},
		{"loopback, IPv6", "::1", false},
		{"loopback, mapped", "::ffff:127.0.0.1", false},
		{"private, mapped", "::ffff:10.0.0.1", false},
		{"metadata, mapped", "::ffff:169.254.169.254", false},
		{"loopback, compatible", "::127.0.0.1", false},
		{"NAT64", "64:ff9b::7f00:1", false},
		{"local NAT64", "64:ff9b:1::7f00:1", false},
		{"discard", "100::1", false},
		{"Teredo", "2001:0:7f00:1::", false},
		{"documentation, IPv6", "2001:db8::1", false},
		{"newer documentation", "3fff::1", false},
		{"6to4", "2002:7f00:1::", false},
		{"segment routing", "5f00::1", false},
		{"unique local", "fd00:ec2::254", false},
		{"link-local, IPv6", "fe80::1", false},
		{"link-local with a zone", "fe80::1%eth0", false},
		{"site-local", "fec0::1", false},
		{"multicast, IPv6", "ff02::1", false},
	} {
		if got := (webhook.Allow{}).Permits(netip.MustParseAddr(tc.addr)); got != tc.want {
			t.Errorf("%s: Permits(%s) = %t; want %t", tc.name, tc.addr, got, tc.want)
		}
	}
	if (webhook.Allow{}).Permits(netip.Addr{}) {
		t.Error("the zero address is permitted")
	}
}

func TestListedAddressesArePermitted(t *testing.T) {
	allow, err := webhook.ParseAllow([]string{"10.1.0.0/16", "192.168.1.7", "fd00::/8"})
	if err != nil {
		t.Fatal(err)
	}
	for addr, want := range map[string]bool{
		"10.1.255.1": true, "::ffff:10.1.0.1": true, "10.2.0.1": false,
		"192.168.1.7": true, "192.168.1.8": false, "fd12::1": true, "fe80::1": false, "127.0.0.1": false,
	} {
		if got := allow.Permits(netip.MustParseAddr(addr)); got != want {
			t.Errorf("Permits(%s) = %t; want %t", addr, got, want)
		}
	}
	for text, want := range map[string]string{
		"10.0.0.1/8": "write 10.0.0.0/8", "localhost": "not a network", "": "not a network", "10.0.0.0/33": "not a network",
	} {
		if _, err := webhook.ParseAllow([]string{text}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ParseAllow(%q) = %v; want %q", text, err, want)
		}
	}
}

func TestURLs(t *testing.T) {
	internal, err := webhook.ParseAllow([]string{"10.1.0.0/16"})
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		text, want string // "" if it is refused
	}{
		{"https://example.com/hook", "https://example.com/hook"},
		{"HTTPS://Example.COM:443/Hook?a=B", "https://example.com/Hook?a=B"},
		{"https://example.com", "https://example.com"},
		{"https://example.com:8443/", "https://example.com:8443/"},
		{"https://example.com:08443/", "https://example.com:8443/"},
		{"https://93.184.216.34/", "https://93.184.216.34/"},
		{"https://[2606:2800:220:1::1]:444/", "https://[2606:2800:220:1::1]:444/"},
		{"https://10.1.2.3/", "https://10.1.2.3/"},
		{"https://xn--bcher-kva.example/", "https://xn--bcher-kva.example/"},
		{"https://bücher.example/", ""},
		{"https://a%41b.example/", ""},
		{"https://[fe80::1%25eth0]/", ""},
		{"http://example.com/hook", ""},
		{"ftp://example.com/hook", ""},
		{"example.com/hook", ""},
		{"https:///hook", ""},
		{"https://:443/hook", ""},
		{"https:example.com", ""},
		{"https://ada:secret@example.com/", ""},
		{"https://example.com/#part", ""},
		{"https://example.com/#", ""},
		{"https://example.com:0/", ""},
		{"https://example.com:65536/", ""},
		{"https://example.com:/", ""},
		{"https://example.com/a b", ""},
		{"https://example.com/a\nb", ""},
		{"https://127.0.0.1/", ""},
		{"https://[::1]/", ""},
		{"https://[::ffff:10.0.0.1]/", ""},
		{"https://10.2.0.1/", ""},
		{"https://169.254.169.254/latest", ""},
		{"https://example.com/" + strings.Repeat("x", 2048), ""},
		{"", ""},
	} {
		got, err := webhook.CheckURL(tc.text, internal, false)
		if got != tc.want || (err == nil) != (tc.want != "") {
			t.Errorf("CheckURL(%.60q) = %q, %v; want %q", tc.text, got, err, tc.want)
		}
		if err != nil && tc.text != "" && strings.Contains(err.Error(), tc.text) {
			t.Errorf("the error repeats the URL: %v", err)
		}
	}
	if got, err := webhook.CheckURL("http://Example.com:80/hook", nil, true); got != "http://example.com/hook" || err != nil {
		t.Errorf("an http URL where it is allowed: %q, %v", got, err)
	}
}

func FuzzCheckURL(f *testing.F) {
	for _, text := range []string{"https://example.com/hook", "http://[::1]:80/", "https://a:b@c/#d", "https://%zz/"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		normal, err := webhook.CheckURL(text, nil, true)
		if err != nil {
			return
		}
		if again, err := webhook.CheckURL(normal, nil, true); again != normal || err != nil {
			t.Errorf("%q has the normal form %q, whose normal form is %q, %v", text, normal, again, err)
		}
	})
}
