// Starts an Azure Blob server with one container, and says so: node azure.js PORT FOLDER CONTAINER
const { spawn } = require("node:child_process");
const { BlobServiceClient, StorageSharedKeyCredential } = require("@azure/storage-blob");

const [port, folder, container] = process.argv.slice(2);
const server = spawn(
  process.execPath,
  [require.resolve("azurite/dist/src/blob/main.js"), "--blobPort", port, "--location", folder, "--skipApiVersionCheck", "--silent", "--disableTelemetry"],
  { stdio: ["ignore", "ignore", "inherit"] },
);
server.on("exit", (code) => process.exit(code ?? 1));
for (const signal of ["SIGTERM", "SIGINT"]) process.on(signal, () => server.kill(signal));

const account = process.env.AZURE_STORAGE_ACCOUNT_NAME;
const credential = new StorageSharedKeyCredential(account, process.env.AZURE_STORAGE_ACCOUNT_KEY);
const client = new BlobServiceClient(`http://127.0.0.1:${port}/${account}`, credential, {
  retryOptions: { maxTries: 60, retryDelayInMs: 250, maxRetryDelayInMs: 250 },
});
client.getContainerClient(container).createIfNotExists().then(
  () => console.log("azure: ready"),
  (error) => { console.error(String(error)); server.kill(); },
);
