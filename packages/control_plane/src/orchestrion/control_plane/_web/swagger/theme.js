// The colours that were chosen on the dashboard, or else those of the system, before anything is shown.
{
  const chosen = /(?:^|; )theme=(light|dark)(?:;|$)/.exec(document.cookie)?.[1];
  const system = matchMedia("(prefers-color-scheme: dark)");
  const colour = () => {
    document.documentElement.classList.toggle("dark-mode", chosen ? chosen === "dark" : system.matches);
  };
  colour();
  system.addEventListener("change", colour);
}
