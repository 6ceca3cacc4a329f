// Turns a heading into a name that can stand in a link.
function slugify(text) {
  // letters and digits stay, all else becomes one dash
  return text
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, "-")
    .replace(/^-|-$/g, "");
}

// Writes every word with a capital letter.
function titleCase(text) {
  return text
    .split(" ")
    .map((word) => word.charAt(0).toUpperCase() + word.slice(1))
    .join(" ");
}
