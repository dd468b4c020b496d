import { buildAssemblyScript } from "./build-assemblyscript.ts"
import { exampleBehaviour } from "./example-behaviour.ts"

exampleBehaviour({ language: "assemblyscript", skip: false, build: buildAssemblyScript })
