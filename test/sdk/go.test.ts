import { GO, missing } from "../support/programs.ts"
import { buildGo } from "./build-go.ts"
import { exampleBehaviour } from "./example-behaviour.ts"

exampleBehaviour({ language: "go", skip: missing(GO), build: buildGo })
