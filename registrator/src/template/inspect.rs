//! The inspect answer as users of the original know it: Go's names for the engine's, and what stands where nothing
//! is said. From go-dockerclient 1.2, whose `Container` its templates are given.

/// What a part of the answer is.
#[derive(Debug)]
pub(super) enum Shape {
    Text,
    Int,
    Bool,
    Time,
    Duration,
    List(&'static Shape),
    Map(&'static Shape),
    Struct(&'static Fields),
    Pointer(&'static Fields),
}

/// A part with a fixed set of fields, in the order in which Go prints them.
#[derive(Debug)]
pub(super) struct Fields {
    pub(super) name: &'static str,
    pub(super) fields: &'static [Field],
    /// Go would print words about now instead.
    pub(super) prints_itself: bool,
}

#[derive(Debug)]
pub(super) struct Field {
    /// Go's name.
    pub(super) name: &'static str,
    /// The engine's.
    pub(super) json: &'static str,
    pub(super) shape: Shape,
}

const TEXTS: Shape = Shape::List(&Shape::Text);
const TEXT_BY_TEXT: Shape = Shape::Map(&Shape::Text);
const NOTHING: Shape = Shape::Struct(&Fields {
    name: "struct {}",
    fields: &[],
    prints_itself: false,
});
const BINDINGS: Shape = Shape::Map(&Shape::List(&Shape::Struct(&BINDING)));

/// One field per line: Go's name, the engine's where it is another, what it is.
macro_rules! fields {
    ($constant:ident, $name:literal, $($field:ident $(= $json:literal)? : $shape:expr,)*) => {
        pub(super) const $constant: Fields = Fields {
            name: $name,
            fields: &[$(Field { name: stringify!($field), json: fields!(@ $field $($json)?), shape: $shape },)*],
            prints_itself: false,
        };
    };
    (@ $field:ident $json:literal) => { $json };
    (@ $field:ident) => { stringify!($field) };
}

/// The whole answer.
pub(super) const CONTAINER_SHAPE: Shape = Shape::Pointer(&CONTAINER);

fields! { CONTAINER, "Container",
    ID = "Id": Shape::Text,
    Created: Shape::Time,
    Path: Shape::Text,
    Args: TEXTS,
    Config: Shape::Pointer(&CONFIG),
    State: Shape::Struct(&STATE),
    Image: Shape::Text,
    NetworkSettings: Shape::Pointer(&NETWORK_SETTINGS),
    SysInitPath: Shape::Text,
    ResolvConfPath: Shape::Text,
    HostnamePath: Shape::Text,
    HostsPath: Shape::Text,
    LogPath: Shape::Text,
    Name: Shape::Text,
    Driver: Shape::Text,
    Mounts: Shape::List(&Shape::Struct(&MOUNT)),
    Volumes: TEXT_BY_TEXT,
    VolumesRW: Shape::Map(&Shape::Bool),
    HostConfig: Shape::Pointer(&HOST_CONFIG),
    ExecIDs: TEXTS,
    GraphDriver: Shape::Pointer(&GRAPH_DRIVER),
    RestartCount: Shape::Int,
    AppArmorProfile: Shape::Text,
}

fields! { CONFIG, "Config",
    Hostname: Shape::Text,
    Domainname: Shape::Text,
    User: Shape::Text,
    Memory: Shape::Int,
    MemorySwap: Shape::Int,
    MemoryReservation: Shape::Int,
    KernelMemory: Shape::Int,
    CPUShares = "CpuShares": Shape::Int,
    CPUSet = "Cpuset": Shape::Text,
    PortSpecs: TEXTS,
    ExposedPorts: Shape::Map(&NOTHING),
    PublishService: Shape::Text,
    StopSignal: Shape::Text,
    StopTimeout: Shape::Int,
    Env: TEXTS,
    Cmd: TEXTS,
    Healthcheck: Shape::Pointer(&HEALTHCHECK),
    DNS = "Dns": TEXTS,
    Image: Shape::Text,
    Volumes: Shape::Map(&NOTHING),
    VolumeDriver: Shape::Text,
    WorkingDir: Shape::Text,
    MacAddress: Shape::Text,
    Entrypoint: TEXTS,
    SecurityOpts: TEXTS,
    OnBuild: TEXTS,
    Mounts: Shape::List(&Shape::Struct(&MOUNT)),
    Labels: TEXT_BY_TEXT,
    AttachStdin: Shape::Bool,
    AttachStdout: Shape::Bool,
    AttachStderr: Shape::Bool,
    ArgsEscaped: Shape::Bool,
    Tty: Shape::Bool,
    OpenStdin: Shape::Bool,
    StdinOnce: Shape::Bool,
    NetworkDisabled: Shape::Bool,
    VolumesFrom: Shape::Text,
}

const STATE: Fields = Fields {
    prints_itself: true,
    ..STATE_FIELDS
};

fields! { STATE_FIELDS, "State",
    Status: Shape::Text,
    Running: Shape::Bool,
    Paused: Shape::Bool,
    Restarting: Shape::Bool,
    OOMKilled: Shape::Bool,
    RemovalInProgress: Shape::Bool,
    Dead: Shape::Bool,
    Pid: Shape::Int,
    ExitCode: Shape::Int,
    Error: Shape::Text,
    StartedAt: Shape::Time,
    FinishedAt: Shape::Time,
    Health: Shape::Struct(&HEALTH),
}

fields! { HEALTH, "Health",
    Status: Shape::Text,
    FailingStreak: Shape::Int,
    Log: Shape::List(&Shape::Struct(&PROBE)),
}

fields! { PROBE, "HealthCheck",
    Start: Shape::Time,
    End: Shape::Time,
    ExitCode: Shape::Int,
    Output: Shape::Text,
}

fields! { HEALTHCHECK, "HealthConfig",
    Test: TEXTS,
    Interval: Shape::Duration,
    Timeout: Shape::Duration,
    StartPeriod: Shape::Duration,
    Retries: Shape::Int,
}

fields! { NETWORK_SETTINGS, "NetworkSettings",
    Networks: Shape::Map(&Shape::Struct(&NETWORK)),
    IPAddress: Shape::Text,
    IPPrefixLen: Shape::Int,
    MacAddress: Shape::Text,
    Gateway: Shape::Text,
    Bridge: Shape::Text,
    PortMapping: Shape::Map(&TEXT_BY_TEXT),
    Ports: BINDINGS,
    NetworkID: Shape::Text,
    EndpointID: Shape::Text,
    SandboxKey: Shape::Text,
    GlobalIPv6Address: Shape::Text,
    GlobalIPv6PrefixLen: Shape::Int,
    IPv6Gateway: Shape::Text,
    LinkLocalIPv6Address: Shape::Text,
    LinkLocalIPv6PrefixLen: Shape::Int,
    SecondaryIPAddresses: TEXTS,
    SecondaryIPv6Addresses: TEXTS,
}

fields! { NETWORK, "ContainerNetwork",
    Aliases: TEXTS,
    MacAddress: Shape::Text,
    GlobalIPv6PrefixLen: Shape::Int,
    GlobalIPv6Address: Shape::Text,
    IPv6Gateway: Shape::Text,
    IPPrefixLen: Shape::Int,
    IPAddress: Shape::Text,
    Gateway: Shape::Text,
    EndpointID: Shape::Text,
    NetworkID: Shape::Text,
}

fields! { BINDING, "PortBinding",
    HostIP = "HostIp": Shape::Text,
    HostPort: Shape::Text,
}

fields! { MOUNT, "Mount",
    Name: Shape::Text,
    Source: Shape::Text,
    Destination: Shape::Text,
    Driver: Shape::Text,
    Mode: Shape::Text,
    RW: Shape::Bool,
}

fields! { GRAPH_DRIVER, "GraphDriver",
    Name: Shape::Text,
    Data: TEXT_BY_TEXT,
}

fields! { HOST_CONFIG, "HostConfig",
    Binds: TEXTS,
    CapAdd: TEXTS,
    CapDrop: TEXTS,
    GroupAdd: TEXTS,
    ContainerIDFile: Shape::Text,
    PortBindings: BINDINGS,
    Links: TEXTS,
    DNS = "Dns": TEXTS,
    DNSOptions = "DnsOptions": TEXTS,
    DNSSearch = "DnsSearch": TEXTS,
    ExtraHosts: TEXTS,
    VolumesFrom: TEXTS,
    UsernsMode: Shape::Text,
    NetworkMode: Shape::Text,
    IpcMode: Shape::Text,
    PidMode: Shape::Text,
    UTSMode: Shape::Text,
    RestartPolicy: Shape::Struct(&RESTART_POLICY),
    DeviceCgroupRules: TEXTS,
    LogConfig: Shape::Struct(&LOG_CONFIG),
    SecurityOpt: TEXTS,
    Cgroup: Shape::Text,
    CgroupParent: Shape::Text,
    Memory: Shape::Int,
    MemoryReservation: Shape::Int,
    KernelMemory: Shape::Int,
    MemorySwap: Shape::Int,
    MemorySwappiness: Shape::Int,
    CPUShares = "CpuShares": Shape::Int,
    CPUSet = "Cpuset": Shape::Text,
    CPUSetCPUs = "CpusetCpus": Shape::Text,
    CPUSetMEMs = "CpusetMems": Shape::Text,
    CPUQuota = "CpuQuota": Shape::Int,
    CPUPeriod = "CpuPeriod": Shape::Int,
    CPURealtimePeriod = "CpuRealtimePeriod": Shape::Int,
    CPURealtimeRuntime = "CpuRealtimeRuntime": Shape::Int,
    BlkioWeight: Shape::Int,
    VolumeDriver: Shape::Text,
    OomScoreAdj: Shape::Int,
    PidsLimit: Shape::Int,
    ShmSize: Shape::Int,
    Tmpfs: TEXT_BY_TEXT,
    Privileged: Shape::Bool,
    PublishAllPorts: Shape::Bool,
    ReadonlyRootfs: Shape::Bool,
    OOMKillDisable = "OomKillDisable": Shape::Bool,
    AutoRemove: Shape::Bool,
    StorageOpt: TEXT_BY_TEXT,
    Sysctls: TEXT_BY_TEXT,
    Runtime: Shape::Text,
}

fields! { RESTART_POLICY, "RestartPolicy",
    Name: Shape::Text,
    MaximumRetryCount: Shape::Int,
}

fields! { LOG_CONFIG, "LogConfig",
    Type: Shape::Text,
    Config: TEXT_BY_TEXT,
}
