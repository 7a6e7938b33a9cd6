import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.nimbusds.jose.JOSEObjectType;
import com.nimbusds.jose.JWSAlgorithm;
import com.nimbusds.jose.jwk.JWKSet;
import com.nimbusds.jose.jwk.source.ImmutableJWKSet;
import com.nimbusds.jose.proc.DefaultJOSEObjectTypeVerifier;
import com.nimbusds.jose.proc.JWSVerificationKeySelector;
import com.nimbusds.jose.proc.SecurityContext;
import com.nimbusds.jwt.JWTClaimsSet;
import com.nimbusds.jwt.proc.DefaultJWTClaimsVerifier;
import com.nimbusds.jwt.proc.DefaultJWTProcessor;
import java.net.URI;
import java.util.Map;
import java.util.Objects;
import java.util.Set;

/** Checks the receipt of standard input as docs/receipts.md describes. */
final class Receipt {
    private Receipt() {}

    public static void main(String[] args) throws Exception {
        JsonNode input = new ObjectMapper().readTree(System.in);
        try {
            check(input);
            System.out.println("accepted");
        } catch (Exception e) {
            System.out.println("refused: " + e.getMessage());
        }
    }

    private static void check(JsonNode input) throws Exception {
        URI url = URI.create(System.getenv("COUNTERSIGN_URL") + "/.well-known/jwks.json");
        var keys = new ImmutableJWKSet<SecurityContext>(JWKSet.load(url.toURL()));
        var processor = new DefaultJWTProcessor<SecurityContext>();
        processor.setJWSTypeVerifier(new DefaultJOSEObjectTypeVerifier<>(new JOSEObjectType("countersign-receipt+jwt")));
        processor.setJWSKeySelector(new JWSVerificationKeySelector<>(JWSAlgorithm.ES256, keys));
        var expected = new JWTClaimsSet.Builder()
            .issuer(System.getenv("RECEIPT_ISSUER"))
            .subject(input.get("user").asText())
            .claim("nonce", input.get("nonce").asText())
            .build();
        processor.setJWTClaimsSetVerifier(
            new DefaultJWTClaimsVerifier<>("https://pay.example.com", expected, Set.of("exp", "sub", "jti")));
        JWTClaimsSet claims = processor.process(input.get("receipt").asText(), null);
        Map<String, Object> action = claims.getJSONObjectClaim("action");
        if (action == null || !Objects.equals(action.get("sha256"), input.get("sha256").asText())) {
            throw new SecurityException("for another action");
        }
        if (Boolean.TRUE.equals(claims.getBooleanClaim("recovery"))) {
            throw new SecurityException("no factor was proven");
        }
    }
}
