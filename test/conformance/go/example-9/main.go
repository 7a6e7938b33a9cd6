package main

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/workos/workos-go/v9"
)

func main() {
	ctx := context.Background()

	// Point the library at your server; nothing else changes.
	client := workos.NewClient(
		os.Getenv("COUNTERSIGN_API_KEY"),
		workos.WithBaseURL(os.Getenv("COUNTERSIGN_URL")), // http://127.0.0.1:4100
	)

	// Once: enroll. Store factor.ID with your user, and show factor.TOTP.QrCode.
	factor, err := client.MultiFactorAuth().EnrollFactor(ctx, &workos.MultiFactorAuthEnrollFactorParams{
		Type:       workos.AuthenticationFactorsCreateRequestTypeTOTP,
		TOTPIssuer: workos.String("Example"),
		TOTPUser:   workos.String("user@example.com"),
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(factor.TOTP.URI)

	// At each sign-in: challenge, ask for the code, verify.
	challenge, err := client.MultiFactorAuth().ChallengeFactor(ctx, factor.ID, nil)
	if err != nil {
		log.Fatal(err)
	}
	var code string
	fmt.Print("Code: ")
	fmt.Scanln(&code)
	verified, err := client.MultiFactorAuth().VerifyChallenge(ctx, challenge.ID,
		&workos.MultiFactorAuthVerifyChallengeParams{Code: code})
	if err != nil {
		log.Fatal(err)
	}
	if verified.Valid {
		fmt.Println("Signed in.")
	} else {
		fmt.Println("Wrong code.")
	}
}
