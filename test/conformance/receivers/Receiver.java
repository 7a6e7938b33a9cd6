import com.sun.net.httpserver.HttpServer;
import java.net.InetSocketAddress;
import java.security.MessageDigest;
import java.util.Base64;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;

class Receiver {
  public static void main(String[] args) throws Exception {
    byte[] key = Base64.getDecoder().decode(System.getenv("SECRET").replaceFirst("^whsec_", ""));
    int port = Integer.parseInt(System.getenv().getOrDefault("PORT", "3000"));
    HttpServer server = HttpServer.create(new InetSocketAddress("127.0.0.1", port), 0);
    server.createContext("/", exchange -> {
      byte[] body = exchange.getRequestBody().readAllBytes();
      var headers = exchange.getRequestHeaders();
      String id = headers.getFirst("webhook-id"), at = headers.getFirst("webhook-timestamp");
      boolean signed = false;
      try {
        Mac mac = Mac.getInstance("HmacSHA256");
        mac.init(new SecretKeySpec(key, "HmacSHA256"));
        mac.update((id + "." + at + ".").getBytes());
        byte[] want = ("v1," + Base64.getEncoder().encodeToString(mac.doFinal(body))).getBytes();
        for (String s : headers.getFirst("webhook-signature").split(" ")) {
          signed |= MessageDigest.isEqual(want, s.getBytes());
        }
        signed &= Math.abs(System.currentTimeMillis() / 1000 - Long.parseLong(at)) <= 300;
      } catch (Exception e) {
        signed = false; // a header is missing or malformed
      }
      if (signed) {
        System.out.println(new String(body)); // store the id and the effect
      }
      exchange.sendResponseHeaders(signed ? 204 : 401, -1);
      exchange.close();
    });
    server.start();
  }
}
