package main

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/workos/workos-go/v4/pkg/mfa"
)

func main() {
	ctx := context.Background()

	// Point the library at your server; nothing else changes.
	client := &mfa.Client{
		Endpoint: os.Getenv("COUNTERSIGN_URL"), // http://127.0.0.1:4100
		APIKey:   os.Getenv("COUNTERSIGN_API_KEY"),
	}

	// Once: enroll. Store factor.ID with your user, and show factor.TOTP.QRCode.
	factor, err := client.EnrollFactor(ctx, mfa.EnrollFactorOpts{
		Type:       mfa.TOTP,
		TOTPIssuer: "Example",
		TOTPUser:   "user@example.com",
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(factor.TOTP.URI)

	// At each sign-in: challenge, ask for the code, verify.
	challenge, err := client.ChallengeFactor(ctx, mfa.ChallengeFactorOpts{FactorID: factor.ID})
	if err != nil {
		log.Fatal(err)
	}
	var code string
	fmt.Print("Code: ")
	fmt.Scanln(&code)
	verified, err := client.VerifyChallenge(ctx, mfa.VerifyChallengeOpts{ChallengeID: challenge.ID, Code: code})
	if err != nil {
		log.Fatal(err)
	}
	if verified.Valid {
		fmt.Println("Signed in.")
	} else {
		fmt.Println("Wrong code.")
	}
}
