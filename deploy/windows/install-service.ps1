<#
.SYNOPSIS
    Installs a run of Herald as a Windows service, under its watchdog, with NSSM (https://nssm.cc, 2.24 or newer).
.DESCRIPTION
    The service is called herald-NAME and runs "herald supervise -- herald VERB CONFIG" with an account of its own, which may write
    the data folder and nothing else. It starts with the machine. See docs/DEPLOYMENT.md. Run it as administrator:

    .\install-service.ps1 -Name day -Config C:\ProgramData\Herald\day.toml -Herald C:\Herald\Scripts\herald.exe
    .\install-service.ps1 -Name day -Remove
.PARAMETER Name
    Name of the run.
.PARAMETER Config
    The config file.
.PARAMETER Herald
    herald.exe of the environment that Herald is installed in; not below a user's profile, which the service cannot read.
.PARAMETER Verb
    paper or live.
.PARAMETER Options
    More options of the verb, such as @("--confirm", "1234567").
.PARAMETER Data
    Folder for state, runs and logs.
.PARAMETER Credential
    An account to run as instead, such as the one that is logged in to MetaTrader 5.
.PARAMETER Nssm
    nssm.exe.
.PARAMETER Remove
    Stops and removes the service; its data stay.
#>
[CmdletBinding(DefaultParameterSetName = "Install")]
param(
    [Parameter(Mandatory)] [ValidatePattern("^[A-Za-z0-9_-]+$")] [string] $Name,
    [Parameter(Mandatory, ParameterSetName = "Install")] [string] $Config,
    [Parameter(Mandatory, ParameterSetName = "Install")] [string] $Herald,
    [Parameter(ParameterSetName = "Install")] [ValidateSet("paper", "live")] [string] $Verb = "paper",
    [Parameter(ParameterSetName = "Install")] [string[]] $Options = @(),
    [Parameter(ParameterSetName = "Install")] [string] $Data = (Join-Path $env:ProgramData "Herald\$Name"),
    [Parameter(ParameterSetName = "Install")] [pscredential] $Credential,
    [string] $Nssm = "nssm.exe",
    [Parameter(Mandatory, ParameterSetName = "Remove")] [switch] $Remove
)

Set-StrictMode -Version Latest
$ErrorActionPreference = "Stop"
$service = "herald-$Name"

$principal = [Security.Principal.WindowsPrincipal] [Security.Principal.WindowsIdentity]::GetCurrent()
if (-not $principal.IsInRole([Security.Principal.WindowsBuiltInRole]::Administrator)) {
    throw "services are installed by administrators; start PowerShell as one"
}
if (-not (Get-Command $Nssm -ErrorAction SilentlyContinue)) {
    throw "'$Nssm' is not there; get it from https://nssm.cc and name it with -Nssm"
}

function Invoke-Nssm {
    & $Nssm @args | Out-Null
    if ($LASTEXITCODE -ne 0) { throw "nssm $($args[0]) $($args[2]) ended with $LASTEXITCODE" }
}

if ($Remove) {
    & $Nssm stop $service | Out-Null
    Invoke-Nssm remove $service confirm
    Write-Output "$service is removed; its data stay"
    exit 0
}

foreach ($path in @($Config, $Herald)) {
    if (-not (Test-Path -LiteralPath $path -PathType Leaf)) { throw "there is no file '$path'; correct the path" }
}
if (Get-Service -Name $service -ErrorAction SilentlyContinue) {
    throw "there is a service $service already; remove it first: -Name $Name -Remove"
}
$Config = (Resolve-Path -LiteralPath $Config).Path
$Herald = (Resolve-Path -LiteralPath $Herald).Path

& $Herald check $Config
if ($LASTEXITCODE -ne 0) { throw "'$Config' has mistakes; correct them first" }

$state = Join-Path $Data "state"
$logs = Join-Path $Data "logs"
New-Item -ItemType Directory -Force -Path $state, $logs | Out-Null

Invoke-Nssm install $service $Herald
try {
    # Every word is quoted for itself, because paths hold spaces.
    $words = @("supervise", "--", $Herald, $Verb, $Config) + $Options
    $line = ($words | ForEach-Object { if ($_ -match "\s") { "`"$_`"" } else { $_ } }) -join " "
    Invoke-Nssm set $service AppParameters $line
    Invoke-Nssm set $service AppDirectory $Data
    Invoke-Nssm set $service AppEnvironmentExtra "HERALD_LIVE__STATE=$state" "PYTHONUNBUFFERED=1" "PYTHONUTF8=1"
    Invoke-Nssm set $service DisplayName "Herald run $Name"
    Invoke-Nssm set $service Start SERVICE_DELAYED_AUTO_START

    # Ctrl-C goes to the watchdog, which passes it on and waits 30 seconds. 6 leaves out messages to windows and threads: there are none.
    Invoke-Nssm set $service AppStopMethodSkip 6
    Invoke-Nssm set $service AppStopMethodConsole 45000
    Invoke-Nssm set $service AppKillProcessTree 1

    # The watchdog starts a run again by itself, so what it ends with is final; only another end, such as a killed process, is not.
    Invoke-Nssm set $service AppExit Default Restart
    foreach ($code in 0, 1, 2, 3, 4, 130) { Invoke-Nssm set $service AppExit $code Exit }
    Invoke-Nssm set $service AppRestartDelay 5000

    Invoke-Nssm set $service AppStdout (Join-Path $logs "out.log")
    Invoke-Nssm set $service AppStderr (Join-Path $logs "err.log")
    Invoke-Nssm set $service AppRotateFiles 1
    Invoke-Nssm set $service AppRotateOnline 1
    Invoke-Nssm set $service AppRotateBytes 10485760

    if ($Credential) {
        $account = $Credential.UserName
        Invoke-Nssm set $service ObjectName $account $Credential.GetNetworkCredential().Password
    }
    else {
        $account = "NT SERVICE\$service"
        & sc.exe config $service obj= $account | Out-Null
        if ($LASTEXITCODE -ne 0) { throw "the account $account was not taken: sc.exe ended with $LASTEXITCODE" }
    }

    # The data are the service's and the administrators' alone (S-1-5-32-544), and the config can be read by it.
    & icacls.exe $Data /inheritance:r /grant "${account}:(OI)(CI)M" "*S-1-5-32-544:(OI)(CI)F" "*S-1-5-18:(OI)(CI)F" | Out-Null
    if ($LASTEXITCODE -ne 0) { throw "the permissions of '$Data' were not set: icacls ended with $LASTEXITCODE" }
    & icacls.exe $Config /grant "${account}:R" | Out-Null
    if ($LASTEXITCODE -ne 0) { throw "the permissions of '$Config' were not set: icacls ended with $LASTEXITCODE" }
}
catch {
    & $Nssm remove $service confirm | Out-Null
    throw
}

Write-Output "$service is installed and starts with the machine; start it now with: Start-Service $service"
