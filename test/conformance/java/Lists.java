import com.workos.common.http.Page;
import com.workos.common.http.RequestConfig;
import com.workos.models.AuthenticationFactor;
import com.workos.types.AuthenticationFactorType;
import com.workos.types.PaginationOrder;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.concurrent.Executors;
import kotlin.Pair;

/** The lists of a user's factors. */
class Lists {
  static void run(Fixture fixture) {
    var mfa = fixture.mfa;
    var report = fixture.report;

    report.step("list no factors", () -> {
      var list = mfa.listUserAuthFactors(Fixture.newUser());
      isPage(list, List.of(), 0, 0);
      Check.that("there is no next page", !list.hasNextPage());
      Check.equal("all", all(list), List.of());
      return null;
    });

    var user = Fixture.newUser();
    var newestFirst = new ArrayList<AuthenticationFactor>();
    report.step("list the factors of a user", () -> {
      for (int i = 0; i < 35; i++) {
        newestFirst.add(0, Factors.shown(Users.enroll(fixture, user, null, "account " + i, null).getAuthenticationFactor()));
      }
      isPage(mfa.listUserAuthFactors(user), newestFirst, 0, 10);
      return "ten, the newest first, without secrets";
    });

    for (var order : List.of(PaginationOrder.Desc, PaginationOrder.Asc)) {
      report.step("list pages, " + order.getValue(), () -> {
        var all = inOrder(newestFirst, order);
        String after = null;
        Page<AuthenticationFactor> page = null;
        for (int from : List.of(0, 10, 20, 30)) {
          page = mfa.listUserAuthFactors(user, null, after, 10, order);
          isPage(page, all, from, Math.min(from + 10, 35));
          after = page.listMetadata.after;
        }
        for (int from : List.of(20, 10, 0)) {
          page = mfa.listUserAuthFactors(user, page.listMetadata.before, null, 10, order);
          isPage(page, all, from, from + 10);
        }
        // Given two cursors, the library sends only after.
        var given = mfa.listUserAuthFactors(user, all.get(9).getId(), all.get(4).getId(), null, order);
        isPage(given, all, 5, 15);
        return "four pages forward by after, three back by before; of two cursors the library sends only after";
      });
    }

    report.step("list with a bad cursor", () -> {
      fixture.invalid("after", "invalid_cursor", () -> mfa.listUserAuthFactors(user, null, "auth_factor_nonsense"));
      fixture.invalid("before", "invalid_cursor", () -> mfa.listUserAuthFactors(user, "nonsense"));
      fixture.invalid("limit", "out_of_range", () -> mfa.listUserAuthFactors(user, null, null, 101));
      fixture.invalid("limit", "out_of_range", () -> mfa.listUserAuthFactors(user, null, null, 0));
      // The library's type allows only valid orders.
      var sideways = new RequestConfig("GET", "/user_management/users/" + user + "/auth_factors", List.of(new Pair<>("order", "sideways")));
      fixture.invalid("order", "unsupported", () -> fixture.server.workos.baseClient.requestJson(sideways));
      return null;
    });

    report.step("list all pages", () -> {
      for (var order : List.of(PaginationOrder.Desc, PaginationOrder.Asc)) {
        var first = mfa.listUserAuthFactors(user, null, null, 10, order);
        Check.equal("all, " + order, all(first), inOrder(newestFirst, order));
        isPage(first.nextPage(), inOrder(newestFirst, order), 10, 20);
      }
      return "35 factors by autoPagingIterable, in both orders";
    });

    report.step("list 301 factors", () -> {
      var crowd = Fixture.newUser();
      var threads = Executors.newFixedThreadPool(8);
      // The calls are equal, so each needs a separate key.
      Callable<String> enroll = () -> {
        var factor = mfa.createUserAuthFactor(crowd, "totp", null, null, null, Fixture.newKey()).getAuthenticationFactor();
        report.secrets(factor.getTotp().getSecret());
        return factor.getId();
      };
      var ids = new ArrayList<String>();
      for (var enrolled : threads.invokeAll(Collections.nCopies(301, enroll))) {
        ids.add(enrolled.get());
      }
      threads.shutdown();
      Check.equal("the number of different ids", new HashSet<>(ids).size(), 301);
      ids.sort(Collections.reverseOrder());
      var listed = all(mfa.listUserAuthFactors(crowd, null, null, 100));
      Check.equal("the ids", listed.stream().map(AuthenticationFactor::getId).toList(), ids);
      return "four pages, each factor once, in the order of their ids";
    });

    report.step("a deleted factor leaves the list", () -> {
      var gone = newestFirst.remove(17);
      mfa.deleteFactor(gone.getId());
      Check.equal("all", all(mfa.listUserAuthFactors(user)), newestFirst);
      isPage(mfa.listUserAuthFactors(user, null, gone.getId(), 3), newestFirst, 17, 20);
      return null;
    });

    report.step("list a factor that is not totp", () -> {
      var phone = fixture.phone();
      var owner = Fixture.newUser();
      fixture.post("/auth/factors/enroll", Map.of("type", "sms", "phone_number", phone, "user_id", owner));
      var list = mfa.listUserAuthFactors(owner);
      Check.equal("the number of factors", list.data.size(), 1);
      var factor = list.data.get(0);
      Check.equal("type", factor.getType(), AuthenticationFactorType.Sms);
      Check.equal("the number", factor.getSms().getPhoneNumber(), phone);
      Check.equal("totp", factor.getTotp(), null);
      Check.equal("userId", factor.getUserId(), owner);
      return null;
    });
  }

  /** Checks that a page is this part of all factors. */
  private static void isPage(Page<AuthenticationFactor> page, List<AuthenticationFactor> all, int from, int to) {
    var want = all.subList(from, to);
    Check.equal("the page", page.data, want);
    Check.equal("before", page.listMetadata.before, from == 0 ? null : want.get(0).getId());
    Check.equal("after", page.listMetadata.after, to == all.size() ? null : want.get(want.size() - 1).getId());
  }

  private static List<AuthenticationFactor> all(Page<AuthenticationFactor> first) {
    var all = new ArrayList<AuthenticationFactor>();
    first.autoPagingIterable().forEach(all::add);
    return all;
  }

  private static List<AuthenticationFactor> inOrder(List<AuthenticationFactor> newestFirst, PaginationOrder order) {
    var list = new ArrayList<>(newestFirst);
    if (order == PaginationOrder.Asc) {
      Collections.reverse(list);
    }
    return list;
  }
}
