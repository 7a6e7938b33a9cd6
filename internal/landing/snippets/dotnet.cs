using WorkOS;

// Point the library at your server; nothing else changes.
var workos = new WorkOSClient(new WorkOSOptions
{
    ApiKey = Environment.GetEnvironmentVariable("COUNTERSIGN_API_KEY"),
    ApiBaseURL = Environment.GetEnvironmentVariable("COUNTERSIGN_URL"), // http://127.0.0.1:4100
});
var mfa = workos.MultiFactorAuth;

// Once: enroll. Store factor.Id with your user, and show factor.Totp.QrCode.
var factor = await mfa.EnrollFactor(new MultiFactorAuthEnrollFactorOptions
{
    Type = AuthenticationFactorsCreateRequestType.Totp,
    TotpIssuer = "Example",
    TotpUser = "user@example.com",
});
Console.WriteLine(factor.Totp.Uri);

// At each sign-in: challenge, ask for the code, verify.
var challenge = await mfa.ChallengeFactor(factor.Id, new MultiFactorAuthChallengeFactorOptions());
Console.Write("Code: ");
var code = Console.ReadLine();
var verification = await mfa.VerifyChallenge(challenge.Id, new MultiFactorAuthVerifyChallengeOptions { Code = code });
Console.WriteLine(verification.Valid ? "Signed in." : "Wrong code.");
