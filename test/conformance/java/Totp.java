import java.io.ByteArrayOutputStream;
import java.nio.ByteBuffer;
import java.security.GeneralSecurityException;
import java.util.List;
import java.util.stream.IntStream;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;

/**
 * One-time codes as an authenticator app computes them (RFC 6238). This class shares no code with the
 * server, so an error in one cannot hide an error in the other.
 */
class Totp {
  private static final String ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

  static String now(String secret) {
    return at(secret, 0);
  }

  /** Returns the code of the time step that is this number of steps after the current one. */
  static String at(String secret, int steps) {
    try {
      var mac = Mac.getInstance("HmacSHA1");
      mac.init(new SecretKeySpec(decode(secret), "HmacSHA1"));
      long counter = System.currentTimeMillis() / 30_000 + steps;
      var sum = ByteBuffer.wrap(mac.doFinal(ByteBuffer.allocate(8).putLong(counter).array()));
      int offset = sum.get(sum.capacity() - 1) & 0x0f;
      return "%06d".formatted((sum.getInt(offset) & 0x7fffffff) % 1_000_000);
    } catch (GeneralSecurityException e) {
      throw new IllegalStateException(e); // every Java has HmacSHA1
    }
  }

  /** Returns a code that is wrong for the secret at all times near now. */
  static String wrongFor(String secret) {
    var near = IntStream.rangeClosed(-3, 3).mapToObj(steps -> at(secret, steps)).toList();
    return List.of("000000", "111111", "222222", "333333", "444444", "555555", "666666", "777777").stream()
        .filter(code -> !near.contains(code))
        .findFirst()
        .orElseThrow();
  }

  /** Returns a code other than the given one. */
  static String otherThan(String code) {
    return "%06d".formatted((Integer.parseInt(code) + 1) % 1_000_000);
  }

  private static byte[] decode(String base32) {
    var bytes = new ByteArrayOutputStream();
    int bits = 0;
    int value = 0;
    for (char letter : base32.toCharArray()) {
      int digit = ALPHABET.indexOf(letter);
      if (digit < 0) {
        throw new IllegalArgumentException("not base32: " + letter);
      }
      value = (value << 5 | digit) & 0xfff;
      bits += 5;
      if (bits >= 8) {
        bits -= 8;
        bytes.write(value >> bits);
      }
    }
    return bytes.toByteArray();
  }
}
