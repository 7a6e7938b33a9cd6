package conformance_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
)

// A replayedExample is a program that docs/clients.md shows for a library that cannot
// run here. Its calls are copied from the library's table, so the replayed calls are
// exactly the calls that the page shows.
type replayedExample struct {
	name    string // the name of the section of the page that shows it
	fence   string // the language of its block of code
	wire    *wire
	program string // {enroll}, {challenge} and {verify} mark the places of the calls
}

var replayedExamples = []replayedExample{
	{"Ruby to 5", "ruby", &ruby5, `
require "uri"
require "workos"

# Point the library at your server; nothing else changes.
WorkOS.configure do |config|
  config.key = ENV.fetch("COUNTERSIGN_API_KEY")
  config.api_hostname = URI(ENV.fetch("COUNTERSIGN_URL")).host # https://mfa.example.com, port 443
end

# Once: enroll. Store factor.id with your user, and show factor.totp[:qr_code].
factor = {enroll}
puts factor.totp[:uri]

# At each sign-in: challenge, ask for the code, verify.
challenge = {challenge}
print "Code: "
code = gets.chomp
verification = {verify}
puts verification.valid ? "Signed in." : "Wrong code."
`},
	{"Ruby 10", "ruby", &ruby10, `
require "workos"

# Point the library at your server; nothing else changes.
workos = WorkOS::Client.new(
  api_key: ENV.fetch("COUNTERSIGN_API_KEY"),
  base_url: ENV.fetch("COUNTERSIGN_URL"), # http://127.0.0.1:4100
)
mfa = workos.multi_factor_auth

# Once: enroll. Store factor.id with your user, and show factor.totp.qr_code.
factor = {enroll}
puts factor.totp.uri

# At each sign-in: challenge, ask for the code, verify.
challenge = {challenge}
print "Code: "
code = gets.chomp
verification = {verify}
puts verification.valid ? "Signed in." : "Wrong code."
`},
	{"PHP 4", "php", &php4, `
<?php

require "vendor/autoload.php";

// Point the library at your server; nothing else changes. The URL ends in a slash.
WorkOS\WorkOS::setApiKey(getenv("COUNTERSIGN_API_KEY"));
WorkOS\WorkOS::setApiBaseUrl(getenv("COUNTERSIGN_URL") . "/"); // http://127.0.0.1:4100/
$mfa = new WorkOS\MFA();

// Once: enroll. Store $factor->id with your user, and show $factor->totp["qr_code"].
$factor = {enroll};
echo $factor->totp["uri"], "\n";

// At each sign-in: challenge, ask for the code, verify.
$challenge = {challenge};
$code = readline("Code: ");
$verification = {verify};
echo $verification->valid ? "Signed in." : "Wrong code.", "\n";
`},
	{"PHP 9", "php", &php9, `
<?php

use WorkOS\Resource\AuthenticationFactorsCreateRequestType;
use WorkOS\WorkOS;

require "vendor/autoload.php";

// Point the library at your server; nothing else changes.
$workos = new WorkOS(
    apiKey: getenv("COUNTERSIGN_API_KEY"),
    baseUrl: getenv("COUNTERSIGN_URL"), // http://127.0.0.1:4100
);
$mfa = $workos->multiFactorAuth();

// Once: enroll. Store $factor->id with your user, and show $factor->totp->qrCode.
$factor = {enroll};
echo $factor->totp->uri, "\n";

// At each sign-in: challenge, ask for the code, verify.
$challenge = {challenge};
$code = readline("Code: ");
$verification = {verify};
echo $verification->valid ? "Signed in." : "Wrong code.", "\n";
`},
	{".NET 2", "csharp", &dotnet2, `
using WorkOS;

// Point the library at your server; nothing else changes.
var mfa = new MfaService(new WorkOSClient(new WorkOSOptions
{
    ApiKey = Environment.GetEnvironmentVariable("COUNTERSIGN_API_KEY"),
    ApiBaseURL = Environment.GetEnvironmentVariable("COUNTERSIGN_URL"), // http://127.0.0.1:4100
}));

// Once: enroll. Store factor.Id with your user, and show factor.Totp.QrCode.
var factor = await {enroll};
Console.WriteLine(factor.Totp.Uri);

// At each sign-in: challenge, ask for the code, verify.
var challenge = await {challenge};
Console.Write("Code: ");
var code = Console.ReadLine();
var verification = await {verify};
Console.WriteLine(verification is VerifyChallengeResponseSuccess { Valid: true } ? "Signed in." : "Wrong code.");
`},
	{".NET 6", "csharp", &dotnet6, `
using WorkOS;

// Point the library at your server; nothing else changes.
var workos = new WorkOSClient(new WorkOSOptions
{
    ApiKey = Environment.GetEnvironmentVariable("COUNTERSIGN_API_KEY"),
    ApiBaseURL = Environment.GetEnvironmentVariable("COUNTERSIGN_URL"), // http://127.0.0.1:4100
});
var mfa = workos.MultiFactorAuth;

// Once: enroll. Store factor.Id with your user, and show factor.Totp.QrCode.
var factor = await {enroll};
Console.WriteLine(factor.Totp.Uri);

// At each sign-in: challenge, ask for the code, verify.
var challenge = await {challenge};
Console.Write("Code: ");
var code = Console.ReadLine();
var verification = await {verify};
Console.WriteLine(verification.Valid ? "Signed in." : "Wrong code.");
`},
	{"Java 4", "java", &java4, `
import com.workos.WorkOS;
import com.workos.mfa.MfaApi.ChallengeFactorOptions;
import com.workos.mfa.MfaApi.EnrollFactorOptions;
import com.workos.mfa.MfaApi.VerifyChallengeOptions;
import java.net.URI;
import java.util.Scanner;

public class Example {
  public static void main(String[] args) {
    // Point the library at your server; nothing else changes.
    var url = URI.create(System.getenv("COUNTERSIGN_URL")); // http://127.0.0.1:4100
    var workos = new WorkOS(System.getenv("COUNTERSIGN_API_KEY"));
    workos.apiHostname = url.getHost();
    workos.port = url.getPort() < 0 ? null : url.getPort();
    workos.https = url.getScheme().equals("https");

    // Once: enroll. Store factor.id with your user, and show factor.totp.qrCode.
    var factor = {enroll};
    System.out.println(factor.totp.uri);

    // At each sign-in: challenge, ask for the code, verify.
    var challenge = {challenge};
    System.out.print("Code: ");
    var code = new Scanner(System.in).nextLine();
    var result = {verify};
    System.out.println(result.valid ? "Signed in." : "Wrong code.");
  }
}
`},
	{"Go 10", "go", &go10, `
package main

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/workos/workos-go/v10"
)

func main() {
	ctx := context.Background()

	// Point the library at your server; nothing else changes.
	client := workos.NewClient(
		os.Getenv("COUNTERSIGN_API_KEY"),
		workos.WithBaseURL(os.Getenv("COUNTERSIGN_URL")), // http://127.0.0.1:4100
	)
	mfa := client.MultiFactorAuth()

	// Once: enroll. Store factor.ID with your user, and show factor.TOTP.QrCode.
	factor, err := {enroll}
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(factor.TOTP.URI)

	// At each sign-in: challenge, ask for the code, verify.
	challenge, err := {challenge}
	if err != nil {
		log.Fatal(err)
	}
	var code string
	fmt.Print("Code: ")
	fmt.Scanln(&code)
	verified, err := {verify}
	if err != nil {
		log.Fatal(err)
	}
	if verified.Valid {
		fmt.Println("Signed in.")
	} else {
		fmt.Println("Wrong code.")
	}
}
`},
}

// TestReplayedExamples assembles the examples and replays their requests.
func TestReplayedExamples(t *testing.T) {
	t.Parallel()
	for _, e := range replayedExamples {
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			inPage(t, "example "+e.name, fmt.Sprintf(
				"Not run by the tests, which cannot install %s %s: they replay its requests.\n\n```%s\n%s```\n",
				e.wire.language, e.wire.version, e.fence, e.source()))
			r := newReplayer(t, e.wire, newFixture(t))
			factor := r.must(t, r.main, enrollTOTP, args{"issuer": "Example", "user": "user@example.com"})
			if want := "otpauth://totp/Example:user@example.com?"; !strings.HasPrefix(factor.sub("totp").text("uri"), want) {
				t.Errorf("the URI is %q; want it to begin with %q", factor.sub("totp").text("uri"), want)
			}
			o := r.openAgain(t, r.main, factor)
			r.answered(t, r.verify(t, r.main, o.challenge, "12345"), o.challenge, false)
			r.answered(t, r.verify(t, r.main, o.challenge, o.right()), o.challenge, true)
		})
	}
}

var placeOfCall = regexp.MustCompile(`(?m)^([ \t]*)(.*)\{(enroll|challenge|verify)\}`)

// source returns the program with the calls filled in.
func (e replayedExample) source() string {
	calls := map[string]string{"enroll": enrollTOTP, "challenge": challengePlain, "verify": verifyCode}
	return placeOfCall.ReplaceAllStringFunc(strings.TrimPrefix(e.program, "\n"), func(place string) string {
		m := placeOfCall.FindStringSubmatch(place)
		return m[1] + m[2] + strings.ReplaceAll(e.wire.call(calls[m[3]]), "\n", "\n"+m[1])
	})
}

// inTable is the indentation of the lines of a call in a table.
const inTable = "\n\t\t\t"

// call returns a call as a user of the library writes it.
func (w *wire) call(name string) string {
	return strings.ReplaceAll(w.calls[name].call, inTable, "\n")
}
