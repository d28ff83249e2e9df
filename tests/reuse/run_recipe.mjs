// Runs a recipe in folders that hold a scans.zarr each, as run_recipe.py does.
import { writeFileSync } from "node:fs";
import { chdir, argv } from "node:process";
import { pathToFileURL } from "node:url";

const [recipe, ...folders] = argv.slice(2);
for (const [number, folder] of folders.entries()) {
  chdir(folder);
  try {
    await import(`${pathToFileURL(recipe)}?${number}`); // another query is another module, which runs anew
  } catch (error) {
    writeFileSync("error.txt", error.stack);
  }
}
