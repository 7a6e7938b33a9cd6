// This script makes the buttons copy. The page also works without it: then it has no buttons.
(() => {
  "use strict";

{{template "copy.js"}}})();
