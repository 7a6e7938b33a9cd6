  // Buttons of the class copy copy the text before them, and say so in the element "announce".
  const announce = (text) => (document.getElementById("announce").textContent = text);

  async function copy(button) {
    const code = button.closest(".copyable").querySelector("code");
    try {
      await navigator.clipboard.writeText(code.textContent);
    } catch {
      // Browsers offer the clipboard only to https and localhost. Otherwise select the text
      // and use the old command.
      getSelection().selectAllChildren(code);
      if (!document.execCommand("copy")) {
        return; // the user can copy the selection
      }
      getSelection().removeAllRanges();
    }
    button.textContent = "Copied";
    announce("Copied");
    setTimeout(() => (button.textContent = "Copy"), 1500);
  }

  document.documentElement.classList.add("script");
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button.copy");
    if (button) {
      copy(button);
    }
  });
