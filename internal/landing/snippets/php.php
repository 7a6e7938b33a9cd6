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
$factor = $mfa->enrollFactor(
    AuthenticationFactorsCreateRequestType::Totp,
    totpIssuer: "Example",
    totpUser: "user@example.com",
);
echo $factor->totp->uri, "\n";

// At each sign-in: challenge, ask for the code, verify.
$challenge = $mfa->challengeFactor($factor->id);
$code = readline("Code: ");
$verification = $mfa->verifyChallenge($challenge->id, $code);
echo $verification->valid ? "Signed in." : "Wrong code.", "\n";
