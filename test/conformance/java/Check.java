import java.util.Objects;
import java.util.regex.Pattern;

/** Checks of the steps. */
class Check {
  static final String ULID = "[0-9A-HJKMNP-TV-Z]{26}";
  static final String UUID = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}";

  static void equal(String what, Object got, Object want) {
    if (!Objects.equals(got, want)) {
      throw new AssertionError(what + " is " + got + "; want " + want);
    }
  }

  static void that(String what, boolean holds) {
    if (!holds) {
      throw new AssertionError("it does not hold that " + what);
    }
  }

  static void matches(String what, String got, String pattern) {
    if (got == null || !Pattern.matches(pattern, got)) {
      throw new AssertionError(what + " is " + got + "; want " + pattern);
    }
  }

  /** A call that is expected to fail. */
  interface Call {
    Object run() throws Exception;
  }

  /** Returns the exception of a call, which must have exactly this class. */
  static <E extends Exception> E fails(Class<E> want, Call call) {
    Object result;
    try {
      result = call.run();
    } catch (Exception e) {
      if (e.getClass() != want) {
        throw new AssertionError("thrown was " + e.getClass() + "; want " + want, e);
      }
      return want.cast(e);
    }
    throw new AssertionError("the call succeeded, with " + result);
  }
}
