import com.workos.WorkOS;
import com.workos.types.AuthenticationFactorsCreateRequestType;
import java.util.Scanner;

public class Example {
  public static void main(String[] args) {
    // Point the library at your server; nothing else changes.
    var workos = WorkOS.builder()
        .apiKey(System.getenv("COUNTERSIGN_API_KEY"))
        .apiBaseUrl(System.getenv("COUNTERSIGN_URL")) // http://127.0.0.1:4100
        .build();
    var mfa = workos.getMultiFactorAuth();

    // Once: enroll. Store factor.getId() with your user, and show factor.getTotp().getQrCode().
    var factor = mfa.enrollFactor(AuthenticationFactorsCreateRequestType.Totp, null, "Example", "user@example.com");
    System.out.println(factor.getTotp().getUri());

    // At each sign-in: challenge, ask for the code, verify.
    var challenge = mfa.challengeFactor(factor.getId());
    System.out.print("Code: ");
    var code = new Scanner(System.in).nextLine();
    var result = mfa.verifyChallenge(challenge.getId(), code);
    System.out.println(result.getValid() ? "Signed in." : "Wrong code.");
  }
}
