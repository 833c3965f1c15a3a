"""Deploys template.yaml to an emulated cloud: uploads the built zips, creates the stack, prints what tests need as JSON.

usage: deploy.py ENDPOINT NAME=VALUE...   (parameters of the template, and secrets such as contact-key=VALUE)
"""

import json
import pathlib
import re
import sys
import time

import boto3
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUCKET = "tidings-code"
STACK = "tidings-ci"
CAPABILITIES = ["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"]


def main(endpoint, parameters):
    def client(service):
        return boto3.client(
            service, endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key="test"
        )

    s3, cloud, gateway, functions = client("s3"), client("cloudformation"), client("apigatewayv2"), client("lambda")
    s3.create_bucket(Bucket=BUCKET)
    for name in [name for name in parameters if name.islower()]:
        value = parameters.pop(name)
        client("ssm").put_parameter(Name=f"/tidings/ci/{name}", Type="SecureString", Value=value, Overwrite=True)
    template = (ROOT / "template.yaml").read_text()
    # Each function names the program that it is; what CodeUri names is the crate of all of them.
    for name in sorted(set(re.findall(r"Binary: ([a-z-]+)", template))):
        s3.upload_file(str(ROOT / f"target/lambda/{name}/bootstrap.zip"), BUCKET, f"{name}.zip")
    code = r"(Binary: ([a-z-]+) \} \}\n(?: {4,}.*\n)*? +CodeUri: )functions/lambda"
    template = re.sub(code, rf"\1s3://{BUCKET}/\2.zip", template)
    # The emulator knows no CodeDeploy: all of the template but its gradual deployment is deployed.
    template = re.sub(r"    DeploymentPreference:\n(      .*\n)+", "", template)
    # Nor policies of a bus, which only let other accounts in.
    template = re.sub(r"  \w+:\n    Type: AWS::Events::EventBusPolicy\n(    .*\n)+", "", template)
    # From the bucket, as `sam deploy` does: a template in the request itself is limited to 51,200 bytes.
    s3.put_object(Bucket=BUCKET, Key="template.yaml", Body=template.encode())
    url = f"{endpoint}/{BUCKET}/template.yaml"
    cloud.create_stack(StackName=STACK, TemplateURL=url, Parameters=listed(parameters), Capabilities=CAPABILITIES)
    stack = wait(cloud)
    if stack["StackStatus"] != "CREATE_COMPLETE":
        for event in cloud.describe_stack_events(StackName=STACK)["StackEvents"]:
            print(event["LogicalResourceId"], event["ResourceStatus"], event.get("ResourceStatusReason", ""), file=sys.stderr)
        sys.exit(f"the stack is {stack['StackStatus']}: {stack.get('StackStatusReason', '')}")
    api = gateway.get_apis()["Items"][0]["ApiId"]
    add_routes(gateway, functions, api, template)
    url = f"{endpoint}/_aws/execute-api/{api}/$default"
    print(json.dumps({"url": url, "outputs": {o["OutputKey"]: o["OutputValue"] for o in stack.get("Outputs", [])}}))


def add_routes(gateway, functions, api, template):
    """The emulator does not read the routes that SAM writes into an HTTP API's body: they are added one by one."""

    class Loader(yaml.SafeLoader):
        pass

    Loader.add_multi_constructor("!", lambda loader, tag, node: f"{tag} {node.value}")
    for resource in yaml.load(template, Loader)["Resources"].values():
        events = resource.get("Properties", {}).get("Events", {}) if "Function" in resource["Type"] else {}
        routes = [event["Properties"] for event in events.values() if event["Type"] == "HttpApi"]
        if not routes:
            continue
        name = resource["Properties"]["FunctionName"].split("-", 2)[2]
        arn = functions.get_function(FunctionName=f"tidings-ci-{name}")["Configuration"]["FunctionArn"]
        integration = gateway.create_integration(
            ApiId=api, IntegrationType="AWS_PROXY", IntegrationUri=arn, PayloadFormatVersion="2.0"
        )["IntegrationId"]
        for route in routes:
            # Without a path it takes what has no route.
            key = f"{route['Method']} {route['Path']}" if "Path" in route else "$default"
            gateway.create_route(ApiId=api, RouteKey=key, Target=f"integrations/{integration}")


def listed(parameters):
    return [{"ParameterKey": name, "ParameterValue": value} for name, value in parameters.items()]


def wait(cloud):
    for _ in range(300):
        stack = cloud.describe_stacks(StackName=STACK)["Stacks"][0]
        if not stack["StackStatus"].endswith("IN_PROGRESS"):
            return stack
        time.sleep(0.5)
    sys.exit("the stack was never finished")


if __name__ == "__main__":
    main(sys.argv[1], dict(argument.split("=", 1) for argument in sys.argv[2:]))
