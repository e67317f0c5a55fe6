// ask.mjs FILE SQL: the one value that the query gives, as JSON.
import { DuckDBInstance } from "@duckdb/node-api";

const [file, sql] = process.argv.slice(2);
const instance = await DuckDBInstance.create(file, { access_mode: "READ_ONLY" });
const connection = await instance.connect();
const reader = await connection.runAndReadAll(sql);
const [[value]] = reader.getRowsJson();
console.log(JSON.stringify(value));
