"""What a function with a durable client is given: where the hub's own HTTP interface is."""

import json


def client_binding(rpc_url: str, hub_name: str) -> str:
    """JSON text for a `durableClient` parameter. `rpc_url` ends with a slash, and is on loopback."""
    root = rpc_url.rstrip("/")
    instance = f"{root}/instances/INSTANCEID"
    creation = f"{root}/orchestrators/{{functionName}}[/{{instanceId}}]"
    return json.dumps(
        {
            "taskHubName": hub_name,
            "creationUrls": {
                "createNewInstancePostUri": creation,
                "createAndWaitOnNewInstancePostUri": f"{creation}?timeout={{timeoutInSeconds}}",
            },
            "managementUrls": {
                "id": "INSTANCEID",
                "statusQueryGetUri": instance,
                "sendEventPostUri": f"{instance}/raiseEvent/{{eventName}}",
                "terminatePostUri": f"{instance}/terminate?reason={{text}}",
                "rewindPostUri": f"{instance}/rewind?reason={{text}}",
                "purgeHistoryDeleteUri": instance,
                "restartPostUri": f"{instance}/restart",
                "suspendPostUri": f"{instance}/suspend?reason={{text}}",
                "resumePostUri": f"{instance}/resume?reason={{text}}",
            },
            "baseUrl": root,
            "requiredQueryStringParameters": "",
            "rpcBaseUrl": rpc_url,
        }
    )
