/** Light, dark, or what the system says. */

const STORED = "sfu-gateway-theme";

/** @param {HTMLSelectElement} control */
export function chooseTheme(control) {
  const apply = () => {
    document.documentElement.dataset.theme = control.value;
  };
  control.value = localStorage.getItem(STORED) ?? "";
  control.addEventListener("change", () => {
    localStorage.setItem(STORED, control.value);
    apply();
  });
  apply();
}
